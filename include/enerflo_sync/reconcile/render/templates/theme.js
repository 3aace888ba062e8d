(() => {
  // Airflow keeps the switch between light and dark here; "system" and nothing leave it to the browser.
  const follow = () => {
    let theme = null;
    try { theme = localStorage.getItem("theme"); } catch { /* not allowed: the browser's own */ }
    if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;
    else delete document.documentElement.dataset.theme;
  };
  follow();
  addEventListener("storage", follow);
})();
