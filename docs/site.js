// What scrolls by itself can be reached, and then scrolled, with the keyboard.
addEventListener("load", () => {
  for (const part of document.querySelectorAll(".md-typeset__scrollwrap, pre > code, math[display=block]")) {
    if (part.scrollWidth > part.clientWidth) part.tabIndex = 0;
  }
});
