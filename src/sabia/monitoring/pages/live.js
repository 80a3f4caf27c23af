"use strict";
// The server's data is inserted as text, never as markup.

const ACTIONS = ["pause", "resume", "promote", "abort"];
const CONFIRMATIONS = { promote: "send all traffic to the canary", abort: "send all traffic back to the stable version" };
const $ = (id) => document.getElementById(id);
let latest = null;
let token = sessionStorage.getItem("token") || "";

function element(name, text, attributes = {}) {
  const created = document.createElement(name);
  if (text !== undefined && text !== null) created.textContent = String(text);
  for (const [key, value] of Object.entries(attributes)) created.setAttribute(key, value);
  return created;
}

function svgElement(name, attributes, text) {
  const created = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) created.setAttribute(key, value);
  if (text !== undefined) created.textContent = text;
  return created;
}

const formatted = (number) => (number === null || number === undefined ? "unknown" : number.toLocaleString("en"));

function showVersions(state) {
  const drift = Object.fromEntries(state.drift.map((entry) => [entry.version, entry]));
  const rows = state.versions.map((version) => {
    const row = element("tr", null, { "data-version": version.version });
    row.append(element("th", version.version, { scope: "row" }));
    const entry = drift[version.version];
    const drifted = !entry ? "" : entry.drifted === null ? "too few rows" : entry.drifted.join(", ") || "none";
    const state = version.trouble || (version.serving ? "serving" : "published");
    const cells = {
      aliases: version.aliases.join(", "),
      weight: `${version.weight} %`,
      requests: version.serving ? formatted(version.requests) : "",
      failed: version.serving ? formatted(version.failed) : "",
      rate: version.rate === null ? "" : version.rate.toFixed(1),
      quality: entry ? entry.quality : "",
      drift: drifted,
      state,
    };
    for (const [name, text] of Object.entries(cells)) row.append(element("td", text, { "data-field": name }));
    return row;
  });
  $("versions").tBodies[0].replaceChildren(...rows);
  $("drift-at").textContent = state.drift_at
    ? `Quality and drift as of ${state.drift_at}, from the log of yesterday and today.`
    : "No quality or drift yet: the log of yesterday and today is empty or has not been read.";
}

function evidencePlot(rollout) {
  const width = 720, height = 190, left = 34, right = 150, top = 10, bottom = 24;
  const last = Math.max(1, ...rollout.entries.map((entry) => entry.elapsed));
  const x = (seconds) => left + ((width - left - right) * seconds) / last;
  const low = -2, high = 6;
  const y = (value) => top + ((height - top - bottom) * (high - Math.min(high, Math.max(low, value)))) / (high - low);
  const percent = (value) => top + ((height - top - bottom) * (100 - value)) / 100;
  const svg = svgElement("svg", { class: "evidence", viewBox: `0 0 ${width} ${height}`, role: "img" });
  const newest = rollout.entries[rollout.entries.length - 1];
  const values = rollout.canaries.map((canary) =>
    `${canary}: weight ${newest.weights[canary] || 0} percent, harm ${(newest.harm[canary] || 0).toFixed(2)}, ` +
    `safe ${(newest.safe[canary] || 0).toFixed(2)}`).join("; ");
  svg.setAttribute("aria-label", `Evidence after ${Math.round(newest.elapsed)} seconds. ${values}.`);
  for (const tick of [-2, 0, 2, 4, 6]) {
    svg.append(svgElement("line", { class: "axis", x1: left, x2: width - right, y1: y(tick), y2: y(tick) }));
    svg.append(svgElement("text", { x: 4, y: y(tick) + 4 }, String(tick)));
  }
  for (const [name, limit, text] of [["harm", rollout.harm_limit, "rolls back"], ["safe", rollout.safe_limit, "next step"]]) {
    svg.append(svgElement("line", { class: `limit ${name}`, x1: left, x2: width - right, y1: y(limit), y2: y(limit) }));
    svg.append(svgElement("text", { x: left + 4, y: y(limit) - 3 }, text));
  }
  rollout.canaries.forEach((canary, at) => {
    for (const [name, value, place, text] of [
      ["harm", (entry) => y(entry.harm[canary] || 0), 0, "harm, log10 of odds"],
      ["safe", (entry) => y(entry.safe[canary] || 0), 1, "safe at this step"],
      ["weight", (entry) => percent(entry.weights[canary] || 0), 2, "weight, 0 to 100 %"],
    ]) {
      const points = rollout.entries.map((entry) => `${x(entry.elapsed).toFixed(1)},${value(entry).toFixed(1)}`).join(" ");
      svg.append(svgElement("polyline", { class: name, points }));
      const line = top + 10 + 16 * (place + 4 * at);
      svg.append(svgElement("polyline", { class: name, points: `${width - right + 8},${line} ${width - right + 30},${line}` }));
      svg.append(svgElement("text", { x: width - right + 34, y: line + 4 }, text));
    }
  });
  svg.append(svgElement("text", { x: width - right - 90, y: height - 6 }, `${Math.round(last)} seconds`));
  return svg;
}

function showRollouts(state) {
  const focused = document.activeElement && document.activeElement.dataset ? document.activeElement.dataset.key : null;
  const articles = state.rollouts.map((rollout) => {
    const article = element("article", null, { "data-rollout": rollout.name });
    article.append(element("h3", `${rollout.stable} to ${rollout.canaries.join(", ")}: ${[rollout.phase, ...rollout.conditions].join(", ")}`));
    article.append(element("p", rollout.summary, { class: "summary", "data-field": "summary" }));
    article.append(evidencePlot(rollout));
    article.append(element("p", `${rollout.name}, ${rollout.entries.length} entries`, { class: "faint", "data-field": "entries" }));
    if (state.actions && !rollout.ended) {
      for (const action of ACTIONS) {
        const key = `${rollout.name}/${action}`;
        const button = element("button", action, { type: "button", "data-action": action, "data-key": key });
        button.addEventListener("click", () => act(rollout, action));
        article.append(button);
      }
    }
    return article;
  });
  if (!articles.length) articles.push(element("p", "This model has had no rollouts."));
  $("rollouts").replaceChildren(...articles);
  // The focused button is created again with every state and keeps the focus.
  if (focused) {
    const focusable = document.querySelector(`[data-key="${CSS.escape(focused)}"]`);
    if (focusable) focusable.focus();
  }
}

async function act(rollout, action) {
  if (CONFIRMATIONS[action] && !window.confirm(`${rollout.stable} to ${rollout.canaries.join(", ")}: ${CONFIRMATIONS[action]} now?`)) return;
  const path = `api/rollouts/${encodeURIComponent(rollout.name)}/${action}`;
  try {
    const response = await fetch(path, { method: "POST", headers: { authorization: `Bearer ${token}` } });
    const body = await response.json();
    $("action-result").textContent = response.ok ? `${action}: recorded, the engine carries it out.` : body.error;
  } catch {
    $("action-result").textContent = "The action did not reach the server.";
  }
}

function show(state) {
  latest = state;
  $("problems").replaceChildren(...state.problems.map((problem) => element("li", problem, { class: "bad" })));
  $("token-form").hidden = !state.actions;
  showVersions(state);
  showRollouts(state);
}

function showConnection(text, kind) {
  const place = $("connection");
  if (place.textContent !== text) place.textContent = text;
  place.className = kind;
}

$("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  token = $("token").value.trim();
  sessionStorage.setItem("token", token);
  $("token").value = "";
  $("action-result").textContent = "The token is used until this tab is closed.";
});

// The stream reconnects automatically, except after a response that is not a stream; then it is opened again.
let stream = null;
function connect() {
  stream = new EventSource("api/events");
  stream.addEventListener("state", (event) => {
    show(JSON.parse(event.data));
    showConnection("Live.", "live");
  });
  stream.addEventListener("error", () => {
    showConnection(latest ? `Connection lost. The page shows the state of ${latest.at}.` : "The server does not respond.", "lost");
    if (stream.readyState === EventSource.CLOSED) setTimeout(connect, 1000);
  });
}
connect();
