// Fetches the page again while its run is unfinished, and replaces what has changed. Without this script, the page
// reloads itself.
"use strict";

const PAUSE_MS = 2000;

async function refresh() {
  const live = document.querySelector("main[data-live]");
  if (!live) return;
  if (!document.hidden && !live.contains(document.activeElement)) {
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (answer.ok) {
        const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("main");
        if (fresh && fresh.innerHTML !== live.innerHTML) live.replaceWith(fresh);
      }
    } catch {
      // The server does not answer at the moment: try again in the next round.
    }
  }
  setTimeout(refresh, PAUSE_MS);
}

setTimeout(refresh, PAUSE_MS);
