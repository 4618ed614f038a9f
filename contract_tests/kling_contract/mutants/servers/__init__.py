"""The broken servers, in tables: one a group of rules, in the rulebook's order."""

from kling_contract.mutants.mutant import Mutant, by_name
from kling_contract.mutants.servers import (
    auth,
    billing,
    callbacks,
    files,
    lifecycle,
    links,
    lists,
    models,
    schema,
    validation,
    wire,
)

TABLES = (wire, validation, models, lifecycle, callbacks, links, auth, billing, lists, files, schema)
SERVERS: tuple[Mutant, ...] = tuple(mutant for table in TABLES for mutant in table.MUTANTS)
BY_NAME = by_name(SERVERS)
