// A Chromium in which somebody visits the console, and what every page has to be like.
import { AxeBuilder } from "@axe-core/playwright";
import { chromium } from "playwright-core";
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { join } from "node:path";

// How long anything may take that the cluster has to do.
export const LIMIT = 60_000;

// Without these a Chromium asks its maker for news.
const QUIET = ["--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

/** A browser for which all tenants' addresses lead to this ingress, where there is one. */
export async function launch(ingress) {
  // A sandbox of its own takes rights that root in a container hasn't.
  const sandbox = process.getuid() === 0 ? ["--no-sandbox"] : [];
  const tenants = ingress ? [`--host-resolver-rules=MAP *.localhost ${ingress}`] : [];
  return chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: [...QUIET, ...sandbox, ...tenants] });
}

/** Somebody who visits the console at this address. */
export async function visitor(browser, url, options = {}) {
  const { token, ...rest } = options;
  const context = await browser.newContext({ baseURL: url, locale: "en-GB", timezoneId: "Europe/Berlin", ...rest });
  context.setDefaultTimeout(LIMIT);
  const page = await context.newPage();
  watch(page);
  if (token) await logIn(page, token);
  return page;
}

export async function logIn(page, token) {
  await page.goto("/login");
  await page.getByLabel("Your token for the cluster").fill(token);
  await page.getByRole("button", { name: "Log in" }).click();
  await page.waitForURL("**/tenants");
}

// What a page says to nobody: errors of scripts, and what the policy has refused.
const complaints = new WeakMap();

function watch(page) {
  const said = [];
  complaints.set(page, said);
  page.on("pageerror", (error) => said.push(String(error)));
  page.on("console", (message) => {
    // An answer of another status than 200 is said there too, and a request that was under way when somebody left the page.
    const isOfTheNetwork = ["Failed to load resource", "htmx: htmx:error: Failed to fetch"].some((words) => message.text().startsWith(words));
    if (message.type() === "error" && !isOfTheNetwork) said.push(message.text());
  });
}

export function quietly(page) {
  assert.deepEqual(complaints.get(page), [], "the page complains");
}

/** Nothing is in anybody's way: for who doesn't see, who has no mouse, who has a phone. */
export async function isAccessible(page) {
  const found = await new AxeBuilder({ page }).withTags(["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]).analyze();
  const lines = found.violations.flatMap((rule) => rule.nodes.map((node) => `${rule.id}: ${node.html}: ${node.failureSummary}`));
  assert.deepEqual(lines, [], `${page.url()} isn't accessible`);
}

/** Wider than a page is nothing but a table, which scrolls by itself. */
export async function fits(page) {
  const [content, window] = await page.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth]);
  assert.ok(content <= window, `${page.url()} is ${content} wide in a window of ${window}`);
  const burst = await page.locator(".card").evaluateAll((cards) => cards.filter((card) => card.scrollWidth > card.clientWidth).map((card) => card.innerText));
  assert.deepEqual(burst, [], `${page.url()} has cards that are too small for what is in them`);
}

/** The colour of a page at a point, as somebody sees it. */
export async function colorAt(page, x, y) {
  const seen = await page.screenshot({ animations: "disabled" });
  const blank = await page.context().newPage();
  const color = await blank.evaluate(async ([picture, x, y]) => {
    const image = await createImageBitmap(await (await fetch(`data:image/png;base64,${picture}`)).blob());
    const canvas = new OffscreenCanvas(image.width, image.height).getContext("2d");
    canvas.drawImage(image, 0, 0);
    return [...canvas.getImageData(x, y, 1, 1).data.slice(0, 3)].map((part) => part.toString(16).padStart(2, "0")).join("");
  }, [seen.toString("base64"), x, y]);
  await blank.close();
  return `#${color}`;
}

/** Takes a picture for the documentation, where one is wanted. */
export async function picture(page, name) {
  const folder = process.env.TENANTRY_PICTURES;
  if (!folder) return;
  mkdirSync(folder, { recursive: true });
  await page.screenshot({ path: join(folder, `${name}.png`), animations: "disabled", fullPage: true });
}
