"use strict";
const EVERY = 2000;
const HERE = location.origin; // the page's own address may hold the token, and fetch refuses such addresses
const main = document.querySelector("main");
const lost = document.getElementById("lost");
const result = document.querySelector("output");
const button = document.querySelector("button");

function selecting() {
  const selection = document.getSelection();
  return selection && !selection.isCollapsed && main.contains(selection.anchorNode);
}

async function refresh() {
  if (document.hidden || selecting()) return;
  try {
    const response = await fetch(HERE + "/", { cache: "no-store", signal: AbortSignal.timeout(5000) });
    if (!response.ok) throw new Error("status " + response.status);
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
    main.replaceChildren(...fresh.querySelector("main").childNodes);
    document.title = fresh.title;
    lost.hidden = true;
  } catch (error) {
    if (lost.hidden) {
      lost.textContent = "No answer from the gateway since " + new Date().toLocaleTimeString() +
        " (" + error.message + "). What is shown is its last known state.";
      lost.hidden = false;
    }
  }
}

async function reload(event) {
  event.preventDefault();
  if (button.getAttribute("aria-disabled") === "true") return;
  button.setAttribute("aria-disabled", "true");
  result.className = "";
  result.textContent = "Reloading…";
  try {
    const response = await fetch(HERE + "/api/reload", { method: "POST" });
    const answer = await response.json();
    result.className = answer.ok ? "good" : "bad";
    result.textContent = answer.ok
      ? "Reloaded: version " + answer.version + " is in force."
      : "Not reloaded: " + (typeof answer.error === "string" ? answer.error : answer.error.message);
  } catch (error) {
    result.className = "bad";
    result.textContent = "No answer: " + error.message;
  }
  button.setAttribute("aria-disabled", "false");
  refresh();
}

document.querySelector("form").addEventListener("submit", reload);
setInterval(refresh, EVERY);
