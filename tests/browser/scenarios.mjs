// What people do with the console, in a browser.
import assert from "node:assert/strict";
import { LIMIT, colorAt, fits, isAccessible, logIn, picture, quietly, visitor } from "./browser.mjs";

const PHONE = { viewport: { width: 375, height: 700 }, isMobile: true, hasTouch: true };
const DARK = { colorScheme: "dark" };

/** Chooses product and plan. */
async function chooses(page, blueprint, plan) {
  const product = page.getByLabel("Product");
  if (await product.count()) await product.selectOption(blueprint);
  await page.getByRole("radio", { name: plan }).check();
}

const LOGO = "https://pictures.example/logo.svg";

/** Types the address of a logo, and sees it. */
async function sees(page, logo) {
  const body = '<svg xmlns="http://www.w3.org/2000/svg" width="96" height="32"><circle cx="16" cy="16" r="14" fill="#fff"/><path d="M40 9h50v5H40zm0 10h34v5H40z" fill="#fff"/></svg>';
  await page.route(logo, (route) => route.fulfill({ contentType: "image/svg+xml", body }));
  await page.getByLabel("Logo").fill(logo);
  await page.locator("#preview img").waitFor();
  await page.waitForFunction(() => document.querySelector("#preview img")?.naturalWidth === 96);
  // Chromium holds streams back as long as anything is intercepted.
  await page.unroute(logo);
}

/** Somebody sells while the customer is on the phone. */
export async function onboard(browser, { url, token, name, taken, blueprint, plan }) {
  const page = await visitor(browser, url, { token });
  await page.getByRole("link", { name: "Onboard a customer" }).click();
  await isAccessible(page);

  // The address is made of the customer's name, and said at once when it can't be had.
  await page.getByLabel("Customer").pressSequentially("Müller & Söhne GmbH");
  const look = page.locator("#look");
  await look.getByText("mueller-soehne.").waitFor();
  await page.getByLabel("Address").fill(taken);
  await look.getByText("already").waitFor();
  await isAccessible(page);
  await look.getByRole("button", { name: `${taken}-2` }).click();
  assert.equal(await page.getByLabel("Address").inputValue(), `${taken}-2`);
  await look.getByText("can be had").waitFor();
  await page.getByLabel("Address").fill("www");
  await look.getByText("is reserved").waitFor();
  await page.getByLabel("Address").fill(name);
  await look.getByText("can be had").waitFor();

  // A colour that nobody could read is refused, with the nearest that one can.
  const preview = page.locator("#preview");
  await page.getByLabel("Main colour").fill("#f2b705");
  await preview.getByText("can't be read on white").waitFor();
  await preview.locator("button[data-fill=color]").click();
  await preview.getByText("can't be read on white").waitFor({ state: "detached" });
  assert.notEqual(await page.getByLabel("Main colour").inputValue(), "#f2b705");
  // On a page of its own: what is intercepted on this one might hold its progress back later.
  const aside = await page.context().newPage();
  await aside.goto(page.url());
  await sees(aside, LOGO);
  await aside.close();
  await chooses(page, blueprint, plan);
  await page.getByLabel("Trial").selectOption("14");
  await picture(page, "onboard");

  // Twice is once.
  await page.getByRole("button", { name: "Onboard", exact: true }).dblclick();
  await page.waitForURL(`**/tenants/${name}`);
  await isAccessible(page);
  await page.locator("#progress .state.ready").waitFor();
  await page.locator("#progress li.done b").getByText("Answering", { exact: true }).waitFor();
  for (const step of ["Space", "Database", "Secrets", "Migration", "Pods", "Address"]) {
    assert.equal(await page.locator("#progress li.done b").getByText(step, { exact: true }).count(), 1, step);
  }
  await page.getByText("trial, 14 days left").waitFor();
  await picture(page, "tenant");

  await page.reload();
  await page.getByRole("link", { name: "Hand over" }).click();
  await page.getByRole("img", { name: "The link as a QR code" }).waitFor();
  assert.match(await page.getByLabel("Text").inputValue(), new RegExp(`https?://${name}\\.`));
  // The link logs the customer in the first time.
  await page.getByRole("button", { name: "Make a link for the first login" }).click();
  await page.locator(".good", { hasText: "It works once" }).waitFor();
  assert.match(await page.locator("#url").textContent(), new RegExp(`https?://${name}\\.[^/]*/welcome/[A-Za-z0-9]{40}$`));
  assert.match(await page.getByLabel("Text").inputValue(), /\/welcome\/[A-Za-z0-9]{40}\n[^]*It works once/);
  await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
  await page.getByRole("button", { name: "Copy all" }).click();
  await page.getByRole("button", { name: "Copied" }).waitFor();
  assert.match(await page.evaluate(() => navigator.clipboard.readText()), /is ready[^]*set up for you/);
  await isAccessible(page);
  await fits(page);
  await picture(page, "hand-over");
  quietly(page);
}

/** The same without scripts. */
export async function onboard_without_scripts(browser, { url, token, name, blueprint, plan }) {
  const page = await visitor(browser, url, { token, javaScriptEnabled: false });
  await page.goto("/onboard");
  await page.getByLabel("Customer").fill("Plain & Co.");
  await page.getByLabel("Address").fill("www");
  await chooses(page, blueprint, plan);
  await page.getByRole("button", { name: "Onboard", exact: true }).click();
  await page.getByRole("alert").getByText("choose an address that can be had").waitFor();
  assert.equal(await page.getByLabel("Customer").inputValue(), "Plain & Co.", "what was filled in is still there");
  await page.getByLabel("Address").fill(name);
  await page.getByRole("button", { name: "Onboard", exact: true }).click();
  await page.waitForURL(`**/tenants/${name}`);
  const until = Date.now() + LIMIT;
  while (!(await page.locator("#progress .state.ready").count())) {
    assert.ok(Date.now() < until, await page.locator("#progress").textContent());
    await page.reload();
  }
  for (const [path, words] of [["/tenants", "Customers"], ["/releases", "Releases"], [`/tenants/${name}/hand-over`, "Plain & Co."]]) {
    await page.goto(path);
    await page.getByRole("heading", { level: 1, name: words }).waitFor();
  }
}

/** A customer whose pods really run is live before the call is over: its own page has its own colour, and lets its first person in once. */
export async function phone(browser, { url, token, name, blueprint, plan, color, seconds }) {
  const page = await visitor(browser, url, { token });
  await page.goto("/onboard");
  await page.getByLabel("Customer").fill("Phoned & Sons");
  await page.getByLabel("Address").fill(name);
  await page.getByLabel("Main colour").fill(color);
  await chooses(page, blueprint, plan);
  await page.locator("#look").getByText("can be had").waitFor();
  const begun = Date.now();
  await page.getByRole("button", { name: "Onboard", exact: true }).click();
  await page.waitForURL(`**/tenants/${name}`);
  await page.locator("#progress .state.ready").waitFor();
  const address = await page.locator("#progress .now a").getAttribute("href");
  const theirs = await page.context().newPage();
  await theirs.goto(address);
  assert.equal(await colorAt(theirs, 5, 5), color);
  const took = (Date.now() - begun) / 1000;
  process.stdout.write(`from the form to the customer's coloured page: ${took} s\n`);
  assert.ok(took < seconds, `it took ${took} s`);

  await page.getByRole("link", { name: "Hand over" }).click();
  await page.getByRole("button", { name: "Make a link for the first login" }).click();
  await page.locator(".good", { hasText: "It works once" }).waitFor();
  const link = await page.locator("#url").getAttribute("href");
  await theirs.goto(link);
  await theirs.getByRole("button").click();
  await theirs.getByText("You are logged in").waitFor();
  const again = await theirs.goto(link);
  assert.equal(again.status(), 410, "it works once");
  quietly(page);
}

/** All that can be done with a customer, by the keyboard alone. */
export async function live(browser, { url, token, name, larger }) {
  const page = await visitor(browser, url, { token });
  await page.goto(`/tenants/${name}`);
  const press = async (role, label) => {
    await page.getByRole(role, { name: label, exact: true }).focus();
    await page.keyboard.press("Enter");
    await page.waitForLoadState("load");
  };
  await press("link", "Change plan");
  await page.getByText("Another plan for").waitFor();
  await isAccessible(page);
  await page.getByRole("radio", { name: larger }).focus();
  await page.keyboard.press("Space");
  await press("button", "Change plan");
  // The test's own client has set it.
  await page.getByRole("alert").getByText("This was set by").waitFor();
  await page.getByLabel("Overwrite it").focus();
  await page.keyboard.press("Space");
  await press("button", "Change plan");
  await page.waitForURL(`**/tenants/${name}`);
  await page.locator("dd", { hasText: larger }).waitFor();

  await press("link", "Extend trial");
  await page.getByLabel("So many days more").fill("30");
  await isAccessible(page);
  await press("button", "Change trial");
  await page.getByText("trial, 30 days left").waitFor();

  await press("link", "Change look");
  await page.getByText("The look of").waitFor();
  await sees(page, LOGO);
  await page.getByLabel("Main colour").fill("#f2b705");
  await page.locator("#preview").getByText("can't be read on white").waitFor();
  await isAccessible(page);
  await page.locator("#preview button[data-fill=color]").focus();
  await page.keyboard.press("Enter");
  await page.locator("#preview").getByText("can't be read on white").waitFor({ state: "detached" });
  await press("button", "Change look");
  await page.locator("dd", { hasText: LOGO }).waitFor();
  await isAccessible(page);

  await press("link", "Suspend");
  await page.getByText("visitors see").waitFor();
  await press("button", "Suspend");
  await page.locator("#progress .state.suspended").waitFor();
  await page.getByRole("link", { name: "Resume" }).waitFor();
  await isAccessible(page);
  await press("link", "Resume");
  await press("button", "Resume");
  await page.locator("#progress .state.ready").waitFor();

  await press("link", "Delete");
  await page.getByText("Type").waitFor();
  await isAccessible(page);
  await page.getByLabel("to say that you mean it").fill("another");
  await press("button", "Delete");
  await page.getByRole("alert").getByText("nothing was done").waitFor();
  await page.getByLabel("to say that you mean it").fill(name);
  await press("button", "Delete");
  await page.waitForURL(`**/tenants/${name}`);

  // There was grace, so it can be taken back.
  await page.locator("#progress .state.suspended", { hasText: "DeletionScheduled" }).waitFor();
  await page.getByText("out of service until then").waitFor();
  await isAccessible(page);
  await press("link", "Keep");
  await page.getByText("Nothing is deleted any more").waitFor();
  await isAccessible(page);
  await press("button", "Keep");
  await page.locator("#progress .state.ready").waitFor();

  await press("link", "Delete");
  await page.getByText("Type").waitFor();
  await page.getByRole("radio", { name: "Now." }).focus();
  await page.keyboard.press("Space");
  await page.getByLabel("to say that you mean it").fill(name);
  await press("button", "Delete");
  await page.waitForURL(`**/tenants/${name}`);
  await page.getByText("The tenant is gone.").or(page.getByText(`there is no tenant ${name}`)).waitFor();
  quietly(page);
}

/** A viewer, a seller and an admin look at the same at once. */
export async function roles(browser, { url, viewer, seller, admin, name }) {
  const look = async (token, sees, lacks) => {
    const page = await visitor(browser, url, { token });
    await page.goto(`/tenants/${name}`);
    for (const button of sees) await page.getByRole("link", { name: button, exact: true }).waitFor();
    for (const button of lacks) assert.equal(await page.getByRole("link", { name: button, exact: true }).count(), 0, button);
    await isAccessible(page);
    quietly(page);
    return page;
  };
  const [watching, selling, deciding] = await Promise.all([
    look(viewer, [], ["Onboard", "Suspend", "Delete"]),
    look(seller, ["Onboard", "Hand over", "Suspend"], ["Delete"]),
    look(admin, ["Onboard", "Hand over", "Suspend", "Delete"], []),
  ]);
  await watching.getByText("you lack the right to patch tenants").waitFor();
  await selling.getByText("you lack the right to delete tenants").waitFor();
  // What one does the others see, without a reload.
  await selling.getByRole("link", { name: "Suspend", exact: true }).click();
  await selling.getByRole("button", { name: "Suspend", exact: true }).click();
  await watching.locator("#progress .state.suspended").waitFor();
  await deciding.getByRole("link", { name: "Resume", exact: true }).waitFor();
}

/** A customer whose migration fails. */
export async function failure(browser, { url, token, name }) {
  const page = await visitor(browser, url, { token });
  await page.goto(`/tenants/${name}`);
  await page.locator("#progress li.failed", { hasText: "Migration" }).waitFor();
  await page.getByText("The product itself failed here. Nothing that was filled in is wrong. Who has to act: the product's developers").waitFor();
  await isAccessible(page);
  await picture(page, "failure");
}

/** A page that was open all the time goes on, whatever was restarted meanwhile. */
export async function progress(browser, { url, token, name }) {
  const page = await visitor(browser, url, { token });
  await page.goto(`/tenants/${name}`);
  process.stdout.write("watching\n");
  await page.locator("#progress .state.ready").waitFor();
}

/** The list, on a phone and in the dark too. */
export async function fleet(browser, { url, token, word, name, other }) {
  for (const [kind, options] of [["light", {}], ["dark", DARK], ["phone", PHONE]]) {
    const page = await visitor(browser, url, { token, ...options });
    await page.getByLabel("Search").fill(word);
    await page.getByRole("link", { name: `${word} ${name}` }).waitFor();
    await page.getByRole("link", { name: `${word} ${other}` }).waitFor();
    await page.waitForURL((address) => address.searchParams.get("q") === word);
    await page.getByLabel("Search").fill(`${word} ${name}`);
    await page.getByRole("link", { name: `${word} ${other}` }).waitFor({ state: "detached" });
    await isAccessible(page);
    await fits(page);
    await picture(page, `fleet-${kind}`);
    for (const path of ["/onboard", "/releases", `/tenants/${name}`, `/tenants/${name}/suspend`, `/tenants/${name}/hand-over`, "/nowhere"]) {
      await page.goto(path);
      await isAccessible(page);
      await fits(page);
    }
    quietly(page);
    await page.context().close();
  }
}

/** A release that arrives while somebody looks. */
export async function release(browser, { url, token, name, tenants }) {
  const page = await visitor(browser, url, { token });
  await page.goto(`/releases/${name}`);
  await page.getByText(`${tenants} of ${tenants} done`).waitFor();
  await page.locator("#progress .state.ready").waitFor();
  await page.waitForFunction(() => {
    const [all, done] = [".ground", ".done"].map((part) => document.querySelector(`.wave ${part}`).getBoundingClientRect().width);
    return Math.abs(all - done) < 1;
  });
  await isAccessible(page);
  await picture(page, "release");
  await page.goto("/releases");
  await isAccessible(page);
  await page.goto(`/releases/${name}/roll-back`);
  await isAccessible(page);
  await page.getByRole("button", { name: "Roll back" }).click();
  await page.waitForURL(`**/releases/${name}`);
  await page.locator("#progress", { hasText: "RolledBack" }).waitFor();
  quietly(page);
}

/** What a customer is called, and what another site's page tries. */
export async function attacks(browser, { url, token, name, evil }) {
  const page = await visitor(browser, url, { token });
  await page.addInitScript(() => { window.alert = () => { window.wasRun = true; }; });
  for (const path of ["/tenants", `/tenants/${name}`, `/tenants/${name}/delete`, `/tenants/${name}/hand-over`, `/onboard?customer=${encodeURIComponent(evil)}`, `/tenants?q=${encodeURIComponent(evil)}`]) {
    await page.goto(path);
    await page.waitForLoadState("load");
    assert.equal(await page.evaluate(() => window.wasRun), undefined, path);
    assert.equal(await page.locator("main img, main script, main iframe").count(), 0, path);
  }
  // Nor does a script run that somebody managed to put into the page.
  await page.goto("/tenants");
  await page.evaluate(() => {
    const script = document.createElement("script");
    script.textContent = "window.wasRun = true";
    document.body.append(script);
    document.body.insertAdjacentHTML("beforeend", "<img src=x onerror='window.wasRun = true'>");
  });
  assert.equal(await page.evaluate(() => window.wasRun), undefined, "the policy lets a script in the page run");

  // A page of another site sends a form, and opens ours in a frame.
  const elsewhere = await page.context().newPage();
  const there = new URL(url);
  there.hostname = there.hostname === "127.0.0.1" ? "localhost" : "127.0.0.1";
  await elsewhere.goto(`${there.origin}/healthz`);
  await elsewhere.setContent(`<form method="post" action="${url}/tenants/${name}/suspend"><button>Win a prize</button></form><iframe src="${url}/tenants"></iframe>`);
  const [answer] = await Promise.all([elsewhere.waitForResponse((response) => response.request().method() === "POST"), elsewhere.getByRole("button").click()]);
  assert.equal(answer.status(), 403);
  assert.equal(elsewhere.frames().some((frame) => frame.url() === `${url}/tenants` && frame.childFrames().length), false);

  // After the end of the session nothing is shown, nor by going back.
  await page.goto("/tenants");
  await page.getByRole("button", { name: "Log out" }).click();
  await page.waitForURL("**/login");
  await page.goBack();
  await page.getByLabel("Your token for the cluster").waitFor();
  await logIn(page, token);

  // A page that is open when the session ends leads to the login, and back to where it was.
  await page.goto("/tenants?q=somebody");
  await page.context().clearCookies();
  await page.getByLabel("Search").fill("somebody else");
  await page.waitForURL("**/login?next=%2Ftenants%3Fq%3Dsomebody");
}
