"use strict";
// What the server says is put on the page as text; nothing that it says is taken as markup.

const VERBS = ["pause", "resume", "promote", "abort"];
const SURE = { promote: "give the canary everything", abort: "give the stable version everything back" };
const $ = (id) => document.getElementById(id);
let seen = null;
let token = sessionStorage.getItem("token") || "";

function element(name, text, attributes = {}) {
  const made = document.createElement(name);
  if (text !== undefined && text !== null) made.textContent = String(text);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function drawn(name, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

const shown = (number) => (number === null || number === undefined ? "unknown" : number.toLocaleString("en"));

function showVersions(state) {
  const drift = Object.fromEntries(state.drift.map((found) => [found.version, found]));
  const rows = state.versions.map((version) => {
    const row = element("tr", null, { "data-version": version.version });
    row.append(element("th", version.version, { scope: "row" }));
    const found = drift[version.version];
    const drifted = !found ? "" : found.drifted === null ? "too few rows" : found.drifted.join(", ") || "none";
    const state = version.trouble || (version.serving ? "serving" : "published");
    const cells = {
      aliases: version.aliases.join(", "),
      weight: `${version.weight} %`,
      requests: version.serving ? shown(version.requests) : "",
      failed: version.serving ? shown(version.failed) : "",
      rate: version.rate === null ? "" : version.rate.toFixed(1),
      drift: drifted,
      state,
    };
    for (const [name, text] of Object.entries(cells)) row.append(element("td", text, { "data-field": name }));
    return row;
  });
  $("versions").tBodies[0].replaceChildren(...rows);
  $("drift-at").textContent = state.drift_at
    ? `Drift as of ${state.drift_at}, from the log of yesterday and today.`
    : "No log has been read yet, or nothing was logged yesterday and today.";
}

function picture(rollout) {
  const width = 720, height = 190, left = 34, right = 150, top = 10, bottom = 24;
  const last = Math.max(1, ...rollout.looks.map((look) => look.elapsed));
  const x = (seconds) => left + ((width - left - right) * seconds) / last;
  const low = -2, high = 6;
  const y = (value) => top + ((height - top - bottom) * (high - Math.min(high, Math.max(low, value)))) / (high - low);
  const percent = (value) => top + ((height - top - bottom) * (100 - value)) / 100;
  const svg = drawn("svg", { class: "evidence", viewBox: `0 0 ${width} ${height}`, role: "img" });
  const newest = rollout.looks[rollout.looks.length - 1];
  const told = rollout.canaries.map((canary) =>
    `${canary}: weight ${newest.weights[canary] || 0} percent, harm ${(newest.against[canary] || 0).toFixed(2)}, ` +
    `safe ${(newest.safe[canary] || 0).toFixed(2)}`).join("; ");
  svg.setAttribute("aria-label", `Evidence after ${Math.round(newest.elapsed)} seconds. ${told}.`);
  for (const tick of [-2, 0, 2, 4, 6]) {
    svg.append(drawn("line", { class: "axis", x1: left, x2: width - right, y1: y(tick), y2: y(tick) }));
    svg.append(drawn("text", { x: 4, y: y(tick) + 4 }, String(tick)));
  }
  for (const [name, limit, text] of [["harm", rollout.harm_limit, "rolls back"], ["safe", rollout.safe_limit, "goes on"]]) {
    svg.append(drawn("line", { class: `limit ${name}`, x1: left, x2: width - right, y1: y(limit), y2: y(limit) }));
    svg.append(drawn("text", { x: left + 4, y: y(limit) - 3 }, text));
  }
  rollout.canaries.forEach((canary, at) => {
    for (const [name, value, place, text] of [
      ["harm", (look) => y(look.against[canary] || 0), 0, "harm, log10 of odds"],
      ["safe", (look) => y(look.safe[canary] || 0), 1, "safe at this step"],
      ["weight", (look) => percent(look.weights[canary] || 0), 2, "weight, 0 to 100 %"],
    ]) {
      const points = rollout.looks.map((look) => `${x(look.elapsed).toFixed(1)},${value(look).toFixed(1)}`).join(" ");
      svg.append(drawn("polyline", { class: name, points }));
      const line = top + 10 + 16 * (place + 4 * at);
      svg.append(drawn("polyline", { class: name, points: `${width - right + 8},${line} ${width - right + 30},${line}` }));
      svg.append(drawn("text", { x: width - right + 34, y: line + 4 }, text));
    }
  });
  svg.append(drawn("text", { x: width - right - 90, y: height - 6 }, `${Math.round(last)} seconds`));
  return svg;
}

function showRollouts(state) {
  const focused = document.activeElement && document.activeElement.dataset ? document.activeElement.dataset.key : null;
  const articles = state.rollouts.map((rollout) => {
    const article = element("article", null, { "data-rollout": rollout.name });
    article.append(element("h3", `${rollout.stable} to ${rollout.canaries.join(", ")}: ${[rollout.phase, ...rollout.conditions].join(", ")}`));
    article.append(element("p", rollout.summary, { class: "summary", "data-field": "summary" }));
    article.append(picture(rollout));
    article.append(element("p", `${rollout.name}, ${rollout.looks.length} records`, { class: "faint", "data-field": "records" }));
    if (state.actions && !rollout.ended) {
      for (const verb of VERBS) {
        const key = `${rollout.name}/${verb}`;
        const button = element("button", verb, { type: "button", "data-verb": verb, "data-key": key });
        button.addEventListener("click", () => decide(rollout, verb));
        article.append(button);
      }
    }
    return article;
  });
  if (!articles.length) articles.push(element("p", "There has been no rollout of this model."));
  $("rollouts").replaceChildren(...articles);
  // What had the focus is made anew with every state, and keeps it.
  if (focused) {
    const again = document.querySelector(`[data-key="${CSS.escape(focused)}"]`);
    if (again) again.focus();
  }
}

async function decide(rollout, verb) {
  if (SURE[verb] && !window.confirm(`${rollout.stable} to ${rollout.canaries.join(", ")}: ${SURE[verb]} now?`)) return;
  const path = `/api/rollouts/${encodeURIComponent(rollout.name)}/${verb}`;
  try {
    const answer = await fetch(path, { method: "POST", headers: { authorization: `Bearer ${token}` } });
    const said = await answer.json();
    $("decided").textContent = answer.ok ? `${verb}: the engine takes it from the record.` : said.error;
  } catch {
    $("decided").textContent = "The decision did not reach the server.";
  }
}

function show(state) {
  seen = state;
  $("problems").replaceChildren(...state.problems.map((problem) => element("li", problem, { class: "bad" })));
  $("token-form").hidden = !state.actions;
  showVersions(state);
  showRollouts(state);
}

function say(text, kind) {
  const place = $("connection");
  if (place.textContent !== text) place.textContent = text;
  place.className = kind;
}

$("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  token = $("token").value.trim();
  sessionStorage.setItem("token", token);
  $("token").value = "";
  $("decided").textContent = "The token is used from now on, until this tab is closed.";
});

// The stream reconnects by itself, but for answers that are no stream; then it is opened anew.
let stream = null;
function connect() {
  stream = new EventSource("/api/events");
  stream.addEventListener("state", (event) => {
    show(JSON.parse(event.data));
    say("Live.", "live");
  });
  stream.addEventListener("error", () => {
    say(seen ? `The connection is lost. What is shown is of ${seen.at}.` : "The server does not answer.", "lost");
    if (stream.readyState === EventSource.CLOSED) setTimeout(connect, 1000);
  });
}
connect();
