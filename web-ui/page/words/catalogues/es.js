export default {
  'page.start': 'Empezar',
};
