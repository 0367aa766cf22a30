// What a page does beyond links and forms: it stays live, can be worked by keyboard, and shows the reader's own time.
"use strict";

const root = document.documentElement;

// A page that a form was answered with is shown, and asked for again, at its own address.
if (document.body.dataset.at) { history.replaceState(null, "", document.body.dataset.at); }

// The reader's time zone.
function localise(within) {
  const language = root.lang === "en" ? "en-GB" : root.lang;
  const parts = { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" };
  const format = new Intl.DateTimeFormat(language, parts);
  const withYear = new Intl.DateTimeFormat(language, { ...parts, year: "numeric" });
  for (const time of within.querySelectorAll("time[data-local]")) {
    const at = new Date(time.dateTime);
    if (!Number.isNaN(at.getTime())) {
      time.title = at.toISOString().replace("T", " ").replace(/\.\d+Z$/, " UTC");
      time.textContent = (/\b\d{4}\b/.test(time.textContent) ? withYear : format).format(at); // of another year than now
    }
  }
}

// What is wider than its place shows its newest end: a chart of time goes from left to right.
function showNewest(within) {
  for (const chart of within.querySelectorAll(".chart.lines")) { chart.scrollLeft = chart.scrollWidth; }
}
const SIDEWAYS = ".chart, .scroll";
function sideways(within) { return [...within.querySelectorAll(SIDEWAYS)]; }

// Live: when something changed, the page is asked for again and those of its parts that differ are put in.
const known = new Map();
let refreshing = null;
let again = false;

function parts(page) { return page.querySelectorAll("[data-part]"); }

function isBusy(part) {
  const at = document.activeElement;
  return part.querySelector("dialog[open]") !== null ||
    (part.contains(at) && ["INPUT", "TEXTAREA", "SELECT"].includes(at.tagName));
}

function putIn(part, fresh) {
  const open = new Set([...part.querySelectorAll("details[open][id]")].map((each) => each.id));
  const at = part.contains(document.activeElement) ? document.activeElement : null;
  const focused = at?.id || "";
  const focusedRow = at?.closest("[data-row]")?.dataset.row;
  const before = new Set([...part.querySelectorAll("[data-row]")].map((row) => row.dataset.row));
  const scrolled = new Map(sideways(part).map((each) => [each.ariaLabel, each.scrollLeft]));
  part.replaceChildren(...fresh.cloneNode(true).childNodes);
  for (const each of part.querySelectorAll("details[id]")) { each.open = open.has(each.id) || each.open; }
  for (const row of part.querySelectorAll("[data-row]")) {
    if (before.size && !before.has(row.dataset.row)) { row.classList.add("fresh"); }
  }
  localise(part);
  showNewest(part);
  for (const each of sideways(part)) { each.scrollLeft = scrolled.get(each.ariaLabel) ?? each.scrollLeft; }
  if (focused) { document.getElementById(focused)?.focus({ preventScroll: true }); }
  else if (focusedRow) { focusRow(rows().find((row) => row.dataset.row === focusedRow)); }
}
function focusRow(row) { row?.querySelector("a")?.focus({ preventScroll: true }); }

// Whoever waits for it sees what was there when it was asked for, though it was under way already.
function refresh() {
  if (refreshing) { again = true; } else { refreshing = refreshInTurn(); }
  return refreshing;
}
async function refreshInTurn() {
  do { again = false; await readAnew(); } while (again);
  refreshing = null;
}
async function readAnew() {
  try {
    const answer = await fetch(location.href, { headers: { "X-Careloop-Live": "1" } });
    if (answer.redirected && new URL(answer.url).pathname === "/sign-in") { location.assign(answer.url); return; }
    if (answer.status === 429) { setTimeout(refresh, 1000 * Number(answer.headers.get("Retry-After") || 1)); }
    if (!answer.ok) { return; }
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const fresh of parts(page)) {
      const part = document.querySelector(`[data-part="${fresh.dataset.part}"]`);
      if (part && known.get(fresh.dataset.part) !== fresh.innerHTML && !isBusy(part)) {
        known.set(fresh.dataset.part, fresh.innerHTML);
        putIn(part, fresh);
      }
    }
    choose(chosen);
    root.dataset.refreshed = String(Number(root.dataset.refreshed || 0) + 1);
  } catch { /* the gateway is away for a moment; the stream tells when it is back */ }
}

// Who looks at a page that hears of nothing any more must see that; a moment's break is none.
const LOST_MS = 4000;
function showLost(isLost) {
  const bar = document.getElementById("lost");
  if (!bar) { return; }
  if (!isLost) {
    clearTimeout(showLost.timer);
    showLost.timer = null;
    bar.hidden = true;
  } else {
    showLost.timer ??= setTimeout(() => { bar.hidden = false; }, LOST_MS); // each try that fails is an error again
  }
}

let stream = null;
function listen() {
  const topics = document.body.dataset.topics;
  if (!topics || stream) { return; }
  stream = new EventSource(`/live?topics=${encodeURIComponent(topics)}`);
  stream.addEventListener("changed", refresh);
  stream.addEventListener("open", () => {
    if (root.dataset.live === "off") { refresh(); } // what happened meanwhile
    root.dataset.live = "on";
    showLost(false);
  });
  stream.addEventListener("error", (event) => {
    root.dataset.live = "off";
    if (event.target.readyState === EventSource.CLOSED) { refresh(); } // signed out, perhaps
    showLost(true);
  });
}
// A browser has few connections to one place: a page that nobody sees gives its own back.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) { stream?.close(); stream = null; } else if (!stream) { listen(); refresh(); }
});
addEventListener("pagehide", () => { stream?.close(); stream = null; });

// Moments are written in the reader's time, and sent in UTC beside it.
function tellMoments(form) {
  for (const field of form.querySelectorAll("input[data-utc]")) {
    const name = `${field.name}_utc`;
    const twin = form.elements[name] || form.appendChild(Object.assign(document.createElement("input"), { type: "hidden", name }));
    const at = new Date(field.value);
    twin.value = Number.isNaN(at.getTime()) ? "" : at.toISOString();
  }
}

// Forms marked so are sent without leaving the page.
function say(text) {
  const toast = document.getElementById("toast");
  if (toast && text) {
    toast.textContent = text;
    toast.hidden = false;
    clearTimeout(say.timer);
    say.timer = setTimeout(() => { toast.hidden = true; }, 5000);
  }
}
document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (event.submitter?.formMethod === "dialog") { return; } // it only closes
  tellMoments(form);
  if (form.dataset.stay === undefined) { return; }
  event.preventDefault();
  const acted = form.closest("[data-row]")?.dataset.row || form.closest("dialog")?.dataset.about;
  choose.acted = acted;
  const button = event.submitter || form.querySelector("button");
  if (button) { button.disabled = true; }
  try {
    const answer = await fetch(form.action, {
      method: "POST", body: new URLSearchParams(new FormData(form)), headers: { "X-Careloop-Live": "1" },
    });
    const told = answer.headers.get("X-Careloop-Says");
    say(told ? decodeURIComponent(told) : answer.ok ? form.dataset.stay : document.body.dataset.failed);
    if (answer.ok) { form.reset(); }
    if (answer.ok || answer.status === 409) { document.activeElement?.blur?.(); form.closest("dialog")?.close(); }
  } catch { say(document.body.dataset.failed); } finally { if (button) { button.disabled = false; } }
  await refresh();
  if (document.activeElement === document.body) { focusRow(document.querySelector("[data-row].chosen")); }
  if (choose.acted === acted) { choose.acted = null; } // if it goes from here on, that is somebody else's work
});
document.addEventListener("change", (event) => {
  if (event.target.dataset.submit !== undefined) { event.target.form.requestSubmit(); }
});

// Keyboard.
let chosen = null;
function rows() { return [...document.querySelectorAll("[data-row]")]; }
function choose(id) {
  const all = rows();
  const row = all.find((each) => each.dataset.row === id) || null;
  // A row that somebody else's work took away leaves nothing chosen: a key pressed late must not meet another one.
  if (id && !row && all.length && id === choose.acted) { return choose(all[Math.min(choose.place || 0, all.length - 1)].dataset.row); }
  chosen = row ? id : null;
  if (row) { choose.place = all.indexOf(row); }
  for (const each of all) {
    each.classList.toggle("chosen", each === row);
    if (each === row) { each.setAttribute("aria-current", "true"); } else { each.removeAttribute("aria-current"); }
  }
  return row;
}
function move(by) {
  const all = rows();
  if (!all.length) { return; }
  const at = all.findIndex((each) => each.dataset.row === chosen);
  const row = choose(all[Math.max(0, Math.min(all.length - 1, at < 0 ? choose.place || 0 : at + by))].dataset.row);
  focusRow(row);
  row.scrollIntoView({ block: "nearest" });
}
function act(key) {
  const place = document.querySelector(".row.chosen") || document.querySelector("[data-acts]");
  const button = place?.querySelector(`[data-key="${key}"]`);
  if (button?.tagName === "INPUT") { button.focus(); } else { button?.click(); }
  return Boolean(button);
}
const KEYS = {
  j: () => move(1), k: () => move(-1),
  Enter: () => document.querySelector(".row.chosen a")?.click(),
  a: () => act("a"), r: () => act("r"), m: () => act("m"), g: () => act("g"), n: () => document.getElementById("note")?.focus(),
  "/": () => document.querySelector("[type=search]")?.focus(),
  "?": () => document.getElementById("help")?.showModal(),
};
document.addEventListener("keydown", (event) => {
  const at = document.activeElement;
  const isTyping = at && (["INPUT", "TEXTAREA", "SELECT"].includes(at.tagName) || at.isContentEditable);
  if (event.key === "Escape" && isTyping) { at.blur(); return; }
  const work = KEYS[event.key];
  if (event.repeat && !["j", "k"].includes(event.key)) { return; } // a key held down decides once
  if (!work || root.dataset.keys === "off" || isTyping || event.ctrlKey || event.metaKey || event.altKey) { return; }
  if (document.querySelector("dialog[open]") || (event.key === "Enter" && at && at !== document.body)) { return; }
  event.preventDefault();
  work();
});
// On a narrow screen the pages are behind a button.
const menu = document.querySelector("[data-menu]");
function unfold(isOpen) {
  menu.setAttribute("aria-expanded", String(isOpen));
  menu.parentElement.classList.toggle("open", isOpen);
}
menu?.addEventListener("click", () => unfold(menu.getAttribute("aria-expanded") !== "true"));
menu?.parentElement.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && menu.getAttribute("aria-expanded") === "true") { unfold(false); menu.focus(); }
});

// A dialog that many rows share is told which of them it is about.
function openDialog(opener) {
  const dialog = document.getElementById(opener.dataset.opens);
  if (!dialog) { return; }
  if (opener.dataset.action) {
    dialog.querySelector("form").action = opener.dataset.action;
    dialog.querySelector("[data-said]").textContent = opener.dataset.about;
    dialog.querySelector("[name=seen]").value = opener.dataset.seen;
  }
  dialog.dataset.about = opener.closest("[data-row]")?.dataset.row || "";
  dialog.showModal();
}
document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-opens]");
  if (opener) { openDialog(opener); }
  const row = event.target.closest("[data-row]");
  if (row) { choose(row.dataset.row); }
});
document.addEventListener("focusin", (event) => {
  const row = event.target.closest?.("[data-row]");
  if (row && row.dataset.row !== chosen) { choose(row.dataset.row); }
});

for (const part of parts(document)) { known.set(part.dataset.part, part.innerHTML); }
localise(document);
showNewest(document);
listen();

// Something runs that no stream tells of.
const POLL_MS = 1500;
if (document.querySelector("[data-poll]")) {
  const polling = setInterval(async () => {
    await refresh();
    if (!document.querySelector("[data-poll]")) { clearInterval(polling); }
  }, POLL_MS);
}

// A device's packets, one line each.
const packets = document.querySelector("[data-tail]");
if (packets) {
  const MOST = 30;
  const READINGS_MS = 2000;
  let any = false;
  let due = 0;
  const tail = new EventSource(packets.dataset.tail);
  tail.addEventListener("open", () => { root.dataset.tail = "on"; });
  tail.addEventListener("packet", (event) => {
    const fate = JSON.parse(event.data);
    if (!any) { packets.replaceChildren(); any = true; }
    const row = document.createElement("tr");
    const at = new Date(fate.received_s * 1000);
    const refused = fate.quarantined ? `${fate.reason ?? ""} ${fate.detail}` : "";
    const cells = [[at.toLocaleTimeString(root.lang), "nowrap"], [fate.topic, "mono"], [fate.payload_bytes, "n"], [fate.stored + fate.filled, "n"], [fate.duplicates, "n"], [refused, ""]];
    if (packets.dataset.raw !== undefined) { cells.push([fate.raw ?? "", "mono raw"]); }
    for (const [text, kind] of cells) {
      const cell = document.createElement("td");
      cell.textContent = String(text);
      cell.className = kind;
      row.append(cell);
    }
    packets.prepend(row);
    while (packets.children.length > MOST) { packets.lastElementChild.remove(); }
    if (!due) { due = setTimeout(() => { due = 0; refresh(); }, READINGS_MS); } // what it says is on the page, too
  });
  addEventListener("pagehide", () => tail.close());
}
