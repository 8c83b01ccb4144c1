export default {
  'page.start': 'शुरू करें',
};
