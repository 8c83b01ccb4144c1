/** What history.browser.test.js puts into its page. */
declare var world: any;
