export default {
  'page.start': 'ابدأ',
};
