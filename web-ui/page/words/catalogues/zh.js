export default {
  'page.start': '开始',
};
