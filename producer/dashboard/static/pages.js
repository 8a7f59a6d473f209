// What templates and htmx cannot do: times in the visitor's own time zone, and the sign of a lost connection.
"use strict";

const isHidden = () => document.hidden;

function localiseTimes() {
  const format = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
  if (new Date().getTimezoneOffset() === 0) return;
  for (const element of document.querySelectorAll("time[datetime]:not([data-local])")) {
    element.dataset.local = format.format(new Date(element.dateTime));
  }
}

function setConnected(connected) {
  document.getElementById("lost").hidden = connected;
}

function showZone() {
  for (const element of document.querySelectorAll("[data-zone]")) {
    element.querySelector("b").textContent = Intl.DateTimeFormat().resolvedOptions().timeZone;
    element.hidden = false;
  }
}

function offerCopies() {
  if (!navigator.clipboard) return; // a page that is not from this machine and not encrypted
  for (const button of document.querySelectorAll("[data-copy]")) {
    const status = button.parentElement.querySelector("[role=status]");
    button.hidden = false;
    button.addEventListener("click", () => {
      navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent).then(
        () => { status.textContent = "Copied."; },
        () => { status.textContent = "The browser does not allow it: select the text."; },
      );
    });
  }
}

for (const begin of [localiseTimes, showZone, offerCopies]) document.addEventListener("DOMContentLoaded", begin);
document.addEventListener("htmx:after:swap", localiseTimes);
document.addEventListener("htmx:before:request", (event) => {
  if (isHidden()) event.preventDefault(); // nobody looks: ask again when the page is visible
});
document.addEventListener("htmx:after:request", (event) => setConnected(event.detail.ctx.response.status < 500));
document.addEventListener("htmx:error", () => setConnected(false));
