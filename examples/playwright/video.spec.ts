import { expect, test } from "@playwright/test";

test("a video is made", async ({ page }) => {
  await page.goto("/");
  await page.getByRole("button", { name: "Make" }).click();
  await expect(page.locator("#state")).toHaveText("completed", { timeout: 30_000 });
});

test("a failure is shown", async ({ page, request }) => {
  await request.post("http://127.0.0.1:4010/__mock/scenarios/next", { data: { name: "failed" }, headers: { Authorization: "Bearer sk-e2e" } });
  await page.goto("/");
  await page.getByRole("button", { name: "Make" }).click();
  await expect(page.locator("#state")).toHaveText("failed", { timeout: 30_000 });
});
