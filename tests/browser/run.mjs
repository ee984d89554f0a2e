// Plays one scenario in Chromium: node run.mjs NAME, with what it needs to know as JSON in TENANTRY_SCENARIO. What is wrong is said on standard error.
import { launch } from "./browser.mjs";
import * as scenarios from "./scenarios.mjs";

const [name] = process.argv.slice(2);
const scenario = scenarios[name];
if (!scenario) throw new Error(`there is no scenario ${name}`);
const facts = JSON.parse(process.env.TENANTRY_SCENARIO);
const browser = await launch(facts.ingress);
try {
  await scenario(browser, facts);
} catch (error) {
  console.error(error);
  for (const page of browser.contexts().flatMap((context) => context.pages())) {
    console.error(`\n${page.url()} shows:\n${await page.locator("body").innerText({ timeout: 1000 }).catch(String)}`);
  }
  process.exitCode = 1;
} finally {
  await browser.close();
}
