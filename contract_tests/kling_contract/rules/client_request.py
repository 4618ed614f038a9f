"""Judges of what a client sends (CQ)."""

from collections.abc import Iterator
from urllib.parse import quote

from kling_common.masking import header
from kling_common.members import object_in
from kling_contract.reading.addresses import origin_in, split
from kling_contract.reading.view import MISSING, View
from kling_contract.rules.case_facts import SPELT
from kling_contract.rules.cases import about, cases, ending, got, has_key, outcome, strays
from kling_contract.rules.judging import Check, check, doubted, judge, quoted
from kling_contract.rules.rulebook import Rule

_BY_FORCE = ("deadline", "on purpose")
"""How a process ended that the lab killed."""


@judge("CQ-01")
def bearer(view: View, _: Rule) -> Iterator[Check]:
    """Looks at every call, also those with no key at all."""
    for case in cases(view):
        for call in case.calls if case.note is not None or _keyed(view) else ():
            if case.facts.base in SPELT and call.operation is None:
                continue  # a path that the service does not have: CQ-16 and CQ-17 name it
            value = call.sent_header("authorization") or ""
            if case.note is None and not value and call.status != 401:
                continue  # only a refusal for want of a key shows that none was sent, and not left out by the recording
            scheme, _space, token = value.partition(" ")
            fine = scheme.lower() == "bearer" and token.strip() and (case.note is None or token.strip() == case.who)
            yield check(fine, "Authorization: Bearer with the given key", f"{value or 'no Authorization'}", call)
    for call in strays(view):
        value = call.sent_header("authorization") or "no Authorization"
        seen = "Bearer with another key" if value.lower().startswith("bearer") else value
        yield check(False, "Authorization: Bearer with the given key", seen, call)


def _keyed(view: View) -> bool:
    """Whether a recording shows keys; one that has none anywhere, and no 401, was exported without them."""
    keys = any(call.sent_header("authorization") for call in view.calls)
    return keys or any(call.status == 401 for call in view.calls)


@judge("CQ-02")
def key_not_in_url(view: View, _: Rule) -> Iterator[Check]:
    """Looks at the URL of everything that was asked for, here and on other hosts."""
    for case in cases(view):
        for call in (*case.calls, *case.elsewhere):
            yield check(not has_key(call.event.url, case.who), "no key in a URL", call.event.url, call)
        for download in case.downloads:
            yield check(not has_key(download.url, case.who), "no key in a URL", download.url, download)


@judge("CQ-03")
def key_not_in_output(view: View, _: Rule) -> Iterator[Check]:
    """Looks at the whole output of every process and at the files that it left."""
    for case in cases(view):
        for note in case.results:
            leaks = note.data["leaks"]
            shown = f"the key stands in {', '.join(leaks)}" if leaks else ""
            found = check(not leaks, "the key nowhere in output and files", shown, note)
            files = {file["name"] for file in note.data["files"]}
            by_force = note.data["ended"] in _BY_FORCE and files.issuperset(leaks)
            yield doubted(found, "the process was ended by force, and could not tidy up") if by_force else found


@judge("CQ-04")
def key_stays_home(view: View, _: Rule) -> Iterator[Check]:
    """Looks at downloads from another origin, and at whatever arrived on other hosts: redirect targets, proxies, forged links."""
    for case in cases(view):
        api = str(case.facts.api or (case.calls and origin_in(case.calls[0].event.url)) or "")
        for download in case.downloads:
            if origin_in(download.url) != api:
                seen = f"the key went to {origin_in(download.url)}"
                yield check(not download.who, "no key at the link's host", seen, download)
        for call in case.elsewhere:
            if case.facts.base == "plain-http":
                continue  # there the user named the host; CQ-06 judges it
            sent = call.event.request
            text = f"{call.event.url} {sent.headers} {sent.body.text}"
            yield check(not has_key(text, case.who), "no key elsewhere", f"the key went to {call.event.url}", call)


@judge("CQ-05")
def create_not_redirected(view: View, _: Rule) -> Iterator[Check]:
    """Looks at what happens after a create that was answered with a redirect to another origin."""
    for case in cases(view):
        for call in case.creates:
            location = call.header("location") or ""
            if 300 <= got(call) < 400 and location and origin_in(location) != origin_in(call.event.url):
                followed = [other for other in case.elsewhere if other.event.mono >= call.event.mono]
                seen = f"{followed[0].event.method} {followed[0].event.url}" if followed else ""
                yield check(not followed, f"nothing sent to {origin_in(location)}", seen, call, *followed[:1])


@judge("CQ-06")
def plain_http_refused(view: View, _: Rule) -> Iterator[Check]:
    """Looks at a base URL of plain http on another host: whether anything was sent, and what the client says."""
    for case in about(view, "CQ-06"):
        if case.elsewhere:
            first = case.elsewhere[0]
            yield check(False, "refused, and nothing sent", f"{first.event.method} {first.event.url}", first, case.last)
        elif outcome(case.last):
            yield check(outcome(case.last) == "refused", "refused", ending(case.last), case.last)


@judge("CQ-07")
def untrusted_refused(view: View, _: Rule) -> Iterator[Check]:
    """Looks at a server with a certificate of an unknown authority: whether a request got through to it."""
    for case in about(view, "CQ-07"):
        if case.touched is None or not case.touched.data["connections"]:
            continue
        through = [call for call in case.elsewhere if call.event.url.startswith(case.touched.data["untrusted"])]
        seen = f"{through[0].event.method} {through[0].event.url} was sent" if through else ""
        yield check(not through, "the certificate refused, no request sent", seen, case.touched, *through[:1])


@judge("CQ-08")
def create_is_valid(view: View, _: Rule) -> Iterator[Check]:
    """Looks at every create but those for which the user asked for what is forbidden (CQ-10)."""
    for case in cases(view):
        for call in case.creates if "CQ-10" not in case.facts.rules else ():
            if not call.posted:
                continue
            flaws = "; ".join(map(str, call.flaws)) or "a body that is no JSON"
            yield check(call.sent is not MISSING and not call.flaws, "a body that the contract allows", flaws, call)


@judge("CQ-09")
def create_is_json(view: View, _: Rule) -> Iterator[Check]:
    """Looks at the Content-Type of every create."""
    for case in cases(view):
        for call in case.creates:
            shown = call.sent_header("content-type")
            if case.note is None and shown is None and (call.accepted or not call.event.request.headers):
                continue  # what was taken for JSON, or is shown without any header, lost it in the recording
            kind = (shown or "none").split(";")[0].strip().lower()
            yield check(kind == "application/json", "Content-Type: application/json", kind, call)


@judge("CQ-10")
def forbidden_refused(view: View, _: Rule) -> Iterator[Check]:
    """Looks at requests for what the contract forbids. A create without it says that the client cannot be asked for it."""
    for case in about(view, "CQ-10"):
        bent = [call for call in case.creates if call.flaws]
        asked = ", ".join(f"{name} {str(value)[-60:]}" for name, value in case.facts.request.items())
        if bent:
            flaws = "; ".join(f"{flaw.field}: {flaw.keyword}" for flaw in bent[0].flaws)
            yield check(False, f"refused before it is sent: {asked}", f"sent, against the contract ({flaws})", bent[0])
        elif not case.creates:
            fine = not case.completes and case.last.data["ended"] == "itself"
            yield check(fine, f"refused: {asked}", ending(case.last), case.last)


@judge("CQ-11")
def nothing_unasked(view: View, _: Rule) -> Iterator[Check]:
    """Looks at members of creates that were not asked for and are not the documented defaults."""
    contract = view.contract
    defaults = {name: contract.default(name) for name in contract.options}
    for case in cases(view):
        for call in case.creates if case.note is not None and "CQ-10" not in case.facts.rules else ():
            if contract.other(call.sent) is not None:
                continue  # what the stories ask for are members of the contract's own model
            sent = object_in(call.sent)
            given = {*contract.required, "callback_url", *case.facts.request}
            extra = {name: value for name, value in sent.items() if name not in given}
            more = {name: value for name, value in extra.items() if defaults.get(name, MISSING) != value}
            yield check(not more, "no member that was not asked for", quoted(more), call)


@judge("CQ-15")
def nothing_dropped(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at the options that were asked for: those that the client takes for certain; all, where it took one of them."""
    for case in about(view, rule.id):
        asked = {name: value for name, value in case.facts.request.items() if name in view.contract.options}
        for call in case.creates[:1]:
            sent = object_in(call.sent)
            model = view.contract.other(sent)
            asked = {name: value for name, value in asked.items() if model is None or name in model.taken}
            taken = set(asked) if any(sent.get(name) == value for name, value in asked.items()) else set()
            for name in sorted((taken | set(case.facts.offered)) & set(asked)):
                free_text = isinstance(asked[name], str) and not view.contract.member(name).get("oneOf")
                fine = sent.get(name, MISSING) == asked[name] or (free_text and asked[name] in str(sent.get(name)))
                seen = quoted(sent[name]) if name in sent else f"no {name}"
                yield check(fine, f"{name} {quoted(asked[name])}, as it was asked for", seen, call)


@judge("CQ-16")
def slash_is_no_path(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at the paths that a client makes of a base URL with a slash at its end."""
    yield from _first_path(view, rule, "//", "a path with one slash")


def _first_path(view: View, rule: Rule, wrong: str, expected: str) -> Iterator[Check]:
    """That the path of the first call of each case about *rule* does not begin with *wrong*."""
    for case in about(view, rule.id):
        for call in case.calls[:1]:
            path = call.event.url.removeprefix(case.facts.api)
            yield check(not path.startswith(wrong), expected, path, call)


@judge("CQ-17")
def version_is_said_once(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at the paths that a client makes of a base URL that ends in the version."""
    yield from _first_path(view, rule, view.contract.root.rstrip("/") * 2, "a path with the version once")


@judge("CQ-12")
def id_is_encoded(view: View, _: Rule) -> Iterator[Check]:
    """Looks at reads of a task whose id means something else when it stands bare in a path."""
    for case in cases(view):
        for create in case.creates:
            task_id = create.body.get("id") if not create.event.lost else None
            wanted = quote(task_id, safe="") if isinstance(task_id, str) else ""
            if not isinstance(task_id, str) or wanted == task_id:
                continue
            stem = view.contract.named("getTask").template.partition("{")[0]
            for call in case.after(create.event, case.calls):
                path = call.event.url.removeprefix(origin_in(call.event.url))
                if call.event.method == "GET" and path.startswith(stem):
                    # The lab's fake shows paths decoded: one that still has all of the id was encoded.
                    fine = path.lower() == (stem + wanted).lower() or (case.note is not None and path == stem + task_id)
                    yield check(fine, f"GET {stem}{wanted}", f"GET {path}", create, call)


@judge("CQ-13")
def named_agent(view: View, rule: Rule) -> Iterator[Check]:
    """Looks at the User-Agent of creates; one of a library names no client."""
    for case in cases(view):
        for call in case.creates:
            agent = header(call.event.request.headers, "user-agent") or ""
            nameless = agent.lower().startswith(tuple(rule.params["nameless"])) or not agent
            yield check(not nameless, "a User-Agent that names the client", agent or "none", call)


@judge("CQ-14")
def callback_is_fit(view: View, _: Rule) -> Iterator[Check]:
    """Looks at every callback_url that was sent."""
    for case in cases(view):
        for call in case.creates if "CQ-10" not in case.facts.rules else ():
            url = call.asked("callback_url")
            if url is MISSING:
                continue
            parts = split(url) if isinstance(url, str) else None
            fine = parts and parts.scheme == "https" and len(url) <= view.contract.callback_url_max
            # In a recording: a fake that was told to call this machine.
            fine = fine or (case.note is None and call.accepted and not call.flaws)
            seen = f"{quoted(url)[:80]} ({len(url)} characters)" if isinstance(url, str) else quoted(url)
            yield check(fine, f"https, at most {view.contract.callback_url_max} characters", seen, call)
