// Fetches the page again while what it shows is under way, and puts in what has changed. Without it, the page
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
      // The server is away for a moment: the next round asks again.
    }
  }
  setTimeout(refresh, PAUSE_MS);
}

setTimeout(refresh, PAUSE_MS);
