export default {
  'page.start': 'Start',
};
