// What a page is without, and nicer with: times and prices as the visitor's own place writes them, and suggestions that fill a field.
"use strict";

function localise(root) {
  const date = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });
  const moment = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
  for (const time of root.querySelectorAll("time[datetime]:not([data-local])")) {
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.valueOf())) continue;
    time.title = moment.format(at);
    time.textContent = time.closest("table") ? date.format(at) : moment.format(at);
    time.dataset.local = "";
  }
  for (const price of root.querySelectorAll("data[data-currency]:not([data-local])")) {
    const money = new Intl.NumberFormat(undefined, { style: "currency", currency: price.dataset.currency });
    price.textContent = money.format(Number(price.value));
    price.dataset.local = "";
  }
}

// How long it has taken so far; what took an hour was changed since, and its seconds tell nothing.
setInterval(() => {
  for (const running of document.querySelectorAll(".running[data-since]")) {
    const seconds = Math.round((Date.now() - new Date(running.dataset.since)) / 1000);
    running.textContent = seconds >= 0 && seconds < 3600 ? `${seconds} s` : "";
  }
}, 500);

document.addEventListener("DOMContentLoaded", () => {
  localise(document);
  // Only where there is a script, and a clipboard.
  if (navigator.clipboard) document.querySelectorAll("button[data-copy]").forEach((button) => { button.hidden = false; });
});
// The session is over: the page itself leads to the login, and back.
for (const event of ["htmx:sse:error", "htmx:response:error"]) {
  document.addEventListener(event, ({ detail }) => {
    if ((detail.status ?? detail.ctx?.response?.status) === 401) location.reload();
  });
}
document.addEventListener("htmx:after:swap", () => localise(document));
document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-fill]");
  if (!button) return;
  const field = button.form?.elements[button.dataset.fill] ?? document.querySelector(`[name="${button.dataset.fill}"]`);
  field.value = button.dataset.value;
  field.dispatchEvent(new Event("input", { bubbles: true }));
  field.focus();
});
document.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-copy]");
  if (!button) return;
  const parts = button.dataset.copy.split(" ").map((id) => document.getElementById(id)).map((part) => part.value ?? part.textContent);
  const said = button.textContent;
  try {
    await navigator.clipboard.writeText(parts.join("\n\n"));
    button.textContent = "Copied";
  } catch {
    button.textContent = "Not allowed by the browser";
  }
  setTimeout(() => { button.textContent = said; }, 2000);
});
// A second click makes no second customer anyway; it only looks as if it could.
document.addEventListener("submit", (event) => {
  // What is only taken along leaves the page as it is.
  if (event.target.method !== "post" || event.submitter?.formAction.endsWith("/manifest")) return;
  for (const button of event.target.querySelectorAll("button:not([type=button])")) button.disabled = true;
});
window.addEventListener("pageshow", () => document.querySelectorAll("button:disabled").forEach((button) => { button.disabled = false; }));
