"use strict";
// Follows the camera's state (server-sent events) and shows it. Every text comes in through textContent.

const $ = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
const HIGHEST = 63; // BDI-II
let state = null;
let drawn = "";

function say(id, text) {
  if ($(id).textContent !== text) $(id).textContent = text; // an unchanged live region stays silent
}

function element(name, text, className) {
  const made = document.createElement(name);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

const clock = (time) => new Date(time).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
const bits = (count) => (count < 1e4 ? `${(count / 1e3).toFixed(1)} kbit` : `${Math.round(count / 1e3)} kbit`);

function show(next) {
  state = next;
  showShutter();
  showEstimate();
  showOptics();
  showBits();
  const mark = `${state.history.length} ${state.history.at(-1)?.time}`;
  if (mark !== drawn) {
    drawn = mark;
    drawChart();
    showTable();
  }
  $("protections").replaceChildren(...state.protections.map(({ name, holds }) => {
    const item = element("li", name, state.tested ? (holds ? "holds" : "fails") : "");
    if (state.tested) item.append(element("span", holds ? ": tried, holds" : ": does not hold", "soft"));
    return item;
  }));
  say("tested", state.tested ? "Tried from inside at the last start." : "They are tried when the shutter opens.");
  $("deliveries").replaceChildren(...state.deliveries.flatMap((delivery) => {
    const row = document.createElement("tr");
    row.append(element("th", { fhir: "FHIR server", mqtt: "MQTT broker", ndjson: "File on this camera" }[delivery.name] ?? delivery.name));
    row.firstChild.scope = "row";
    for (const count of [delivery.waiting, delivery.delivered, delivery.dead]) row.append(element("td", String(count)));
    const { trouble, waiting, dead } = delivery;
    row.append(element("td", trouble ? "in trouble" : waiting ? "sending" : "up to date", trouble ? "bad" : ""));
    const remarks = []; // in a row of their own, which a narrow screen can wrap
    if (trouble) remarks.push(`${trouble}. It will be tried again; nothing is lost.`);
    if (dead) remarks.push(`Refused for good: ${delivery.why_dead}. When that is mended, it can be sent again with opticaldr audit replay.`);
    if (!remarks.length) return [row];
    row.className = "goes-on";
    const line = document.createElement("tr"), cell = element("td", remarks.join(" "), "remark bad");
    cell.colSpan = 5;
    line.append(cell);
    return [row, line];
  }));
  say("entries", String(state.audit.entries));
  say("head", state.audit.head);
  say("bundle", state.bundle);
  say("purpose", state.purpose);
  alarm(state.lost ? `${state.lost} entries could not be logged: the disk is full or failing.` : "");
}

function showShutter() {
  const { shutter, wanted, why_closed: why, in_doubt: doubt } = state;
  const open = shutter === "open";
  say("pill", doubt ? "Optics in doubt" : open ? "Shutter open" : wanted ? "Shutter opening" : "Shutter closed");
  $("pill").className = `pill ${doubt ? "bad" : open ? "open" : why ? "bad" : ""}`;
  say("shutter-text", doubt ? "The shutter is open, but the camera cannot tell that its lens is in place: it may be too dark, the scene too plain, or something before the lens. It gives no estimates until it can."
    : open ? "The shutter is open. The camera measures; close it whenever you like."
    : wanted ? "The camera locks itself in, then the shutter opens."
    : shutter !== "closed" ? "The shutter is closing."
    : why ? `The shutter is closed: ${why}. Check the camera before you open it again.`
    : "The shutter is closed: the camera is not running, and nothing is seen. Do you agree to be measured?");
  $("shutter").textContent = wanted ? "Close the shutter" : "I agree: open the shutter";
  $("shutter").className = wanted ? "close" : "";
  $("shutter").disabled = !wanted && shutter !== "closed";
}

function showEstimate() {
  const latest = state.estimate;
  say("estimate", latest ? latest.estimate.toFixed(1) : "–");
  say("sigma", latest ? `± ${latest.sigma.toFixed(1)}` : "");
  say("when", latest ? `At ${clock(latest.time)}` : state.shutter === "open" ? "The first one takes a while." : "");
  const flags = latest ? latest.quality : [];
  if ($("flags").childElementCount !== flags.length || [...$("flags").children].some((c, i) => c.textContent !== flags[i]))
    $("flags").replaceChildren(...flags.map((flag) => element("li", flag)));
}

function showOptics() {
  const { interlock_margin: margin, shutter, why_closed: why, in_doubt: doubt } = state;
  say("lock", doubt ? "In doubt" : shutter === "open" ? "In place" : why ? "Closed" : "At rest");
  $("lock").className = `state ${why || doubt ? "bad" : ""}`;
  $("margin").value = margin ?? 0;
  say("margin-text", margin === null ? "It is measured on every frame." : `${Math.round(100 * margin)} % of the threshold at which the shutter closes`);
  const age = state.calibration_age_days;
  say("calibration", age === null ? "the bundle does not say" : age < 1 ? "today" : `${Math.floor(age)} days ago (${state.calibrated.slice(0, 10)})`);
}

function showBits() {
  const { per_hour: hourly, face_image: face, hours_for_one_face_image: hours } = state.bits;
  say("bits", bits(hourly));
  $("bits-meter").value = Math.min(1, hourly / face);
  say("bits-text", `One small face image takes ${bits(face)}: ${hours >= 10 ? Math.round(hours) : hours.toFixed(1)} hours, if every bit were abused.`);
}

function showTable() {
  $("table").replaceChildren(...state.history.slice(-30).reverse().map(({ time, estimate, sigma, quality }) => {
    const row = document.createElement("tr");
    for (const text of [new Date(time).toLocaleString(), estimate.toFixed(1), sigma.toFixed(1), quality.join(", ")]) row.append(element("td", text));
    return row;
  }));
}

// The band is one standard deviation to either side; a gap in time is a gap in the line.
function drawChart() {
  const chart = $("chart"), history = state.history;
  const width = chart.clientWidth, height = chart.clientHeight;
  const left = 30, right = 10, top = 8, bottom = 24;
  chart.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const parts = [];
  const add = (name, attributes, text) => {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text) made.textContent = text;
    parts.push(made);
  };
  const y = (score) => top + (1 - Math.min(Math.max(score, 0), HIGHEST) / HIGHEST) * (height - top - bottom);
  for (const score of [0, 21, 42, 63]) {
    add("line", { class: "grid", x1: left, x2: width - right, y1: y(score), y2: y(score) });
    add("text", { x: left - 8, y: y(score) + 4, "text-anchor": "end" }, String(score));
  }
  if (history.length) {
    const times = history.map(({ time }) => Date.parse(time));
    const first = Math.min(...times), last = Math.max(...times, first + 1);
    const x = (time) => left + 6 + ((time - first) / (last - first)) * (width - left - right - 12);
    const runs = [[]];
    history.forEach((point, i) => {
      if (i && (times[i] < times[i - 1] || times[i] - times[i - 1] > 5000 * state.interval)) runs.push([]);
      runs.at(-1).push([x(times[i]), point]);
    });
    for (const run of runs) {
      const edge = (side) => run.map(([at, p]) => `${at.toFixed(1)},${y(p.estimate + side * p.sigma).toFixed(1)}`);
      add("polygon", { class: "band", points: [...edge(1), ...edge(-1).reverse()].join(" ") });
      add("polyline", { class: "line", points: edge(0).join(" ") });
    }
    for (const run of runs) for (const [at, p] of run)
      if (history.length <= 60 || p.quality.length)
        add("circle", { class: p.quality.length ? "dot flagged" : "dot", cx: at, cy: y(p.estimate), r: 3 });
    add("text", { x: left, y: height - 6 }, clock(first));
    add("text", { x: width - right, y: height - 6, "text-anchor": "end" }, clock(last));
    const scores = history.map((p) => p.estimate);
    say("chart-text", `${history.length} estimates from ${clock(first)} to ${clock(last)}, between ${Math.min(...scores).toFixed(1)} and ${Math.max(...scores).toFixed(1)}; the band is one standard deviation, hollow points carry warnings.`);
  }
  chart.replaceChildren(...parts);
}

function alarm(text) {
  if (text !== $("alarm").textContent) $("alarm").textContent = text;
  $("alarm").hidden = !text;
}

$("shutter").addEventListener("click", async () => {
  const opened = !state.wanted;
  try {
    const answer = await fetch("/shutter", {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ opened }),
    });
    if (answer.status === 401) location.assign("/login");
    else if (!answer.ok) alarm(`The camera did not take that (${answer.status}).`);
  } catch {
    alarm("The camera does not answer. If it must not look, cover it.");
  }
});

const source = new EventSource("/events");
source.onmessage = ({ data }) => show(JSON.parse(data));
source.onerror = () => {
  say("pill", "No connection");
  $("pill").className = "pill bad";
  alarm("The camera does not answer. What is shown may be old.");
};
addEventListener("resize", () => state && drawChart());
