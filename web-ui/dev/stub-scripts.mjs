/** What the stub server pretends to hear. */

/**
 * One utterance of the script. `after` is how long after the one before it begins, milliseconds.
 * @typedef {{ after: number, text: string, language: string, translations: Record<string, string>, gap?: boolean }} Spoken
 */

/** What the first session hears. @type {Spoken[]} */
export const SCRIPT = [
  {
    after: 300,
    text: 'Good morning everyone, and thank you for coming.',
    language: 'en',
    translations: { es: 'Buenos días a todos, y gracias por venir.', ar: 'صباح الخير جميعًا، وشكرًا لحضوركم.', zh: '大家早上好，感谢各位的到来。' },
  },
  {
    after: 500,
    text: 'Before we begin, a few words about how the harbour was built, why the sea wall had to be raised twice in thirty years, and what the new survey says about the storms we must expect before the end of the century.',
    language: 'en',
    translations: {
      es: 'Antes de empezar, unas palabras sobre cómo se construyó el puerto, por qué hubo que elevar el dique dos veces en treinta años y qué dice el nuevo estudio sobre las tormentas que debemos esperar antes de que acabe el siglo.',
      ar: 'قبل أن نبدأ، بضع كلمات عن كيفية بناء الميناء، ولماذا كان لا بد من رفع الجدار البحري مرتين خلال ثلاثين عامًا، وما يقوله المسح الجديد عن العواصف التي يجب أن نتوقعها قبل نهاية القرن.',
      zh: '在开始之前，我想简单介绍一下这座港口是如何建成的，为什么海堤在三十年里不得不两次加高，以及新的调查对本世纪末之前我们必须预期的风暴有何说法。',
    },
  },
  { after: 400, text: 'This part was lost', language: 'en', translations: {}, gap: true },
  {
    after: 600,
    text: 'Any questions so far?',
    language: 'en',
    translations: { es: '¿Alguna pregunta hasta ahora?', ar: 'هل من أسئلة حتى الآن؟', zh: '到目前为止有问题吗？' },
  },
];

/** What a session hears that is opened beside another one. @type {Spoken[]} */
export const ANSWERS = [
  {
    after: 1500,
    text: 'We can hear you well, please go on.',
    language: 'en',
    translations: { es: 'Le oímos bien, siga, por favor.', ar: 'نسمعك جيدًا، تفضل بالمتابعة.', zh: '我们听得很清楚，请继续。' },
  },
  {
    after: 1200,
    text: 'Could you show the picture of the old harbour once more?',
    language: 'en',
    translations: { es: '¿Podría mostrar otra vez la imagen del puerto antiguo?', ar: 'هل يمكنك عرض صورة الميناء القديم مرة أخرى؟', zh: '能再展示一次旧港口的图片吗？' },
  },
  {
    after: 900,
    text: 'Thank you, that answers my question.',
    language: 'en',
    translations: { es: 'Gracias, eso responde a mi pregunta.', ar: 'شكرًا، هذا يجيب عن سؤالي.', zh: '谢谢，这回答了我的问题。' },
  },
];

/** Parts of sentences that fit together in any combination, in each language. */
const PARTS = {
  en: [
    ['In the morning', 'As far as we know', 'After the meeting', 'For the first time', 'Last winter', 'Without any doubt', 'Every few years'],
    ['the harbour was closed to ships', 'the council changed its plan', 'our colleagues measured the waves', 'the old bridge was repaired', 'many people came to listen'],
    ['because the storm came early', 'although nobody had asked for it', 'so that the work could go on', 'while the town was still asleep', 'and the figures were better than before', 'but the costs were higher than expected'],
  ],
  es: [
    ['Por la mañana', 'Hasta donde sabemos', 'Después de la reunión', 'Por primera vez', 'El invierno pasado', 'Sin ninguna duda', 'Cada pocos años'],
    ['el puerto se cerró a los barcos', 'el consejo cambió su plan', 'nuestros colegas midieron las olas', 'se reparó el puente viejo', 'mucha gente vino a escuchar'],
    ['porque la tormenta llegó pronto', 'aunque nadie lo había pedido', 'para que el trabajo pudiera seguir', 'mientras la ciudad aún dormía', 'y las cifras fueron mejores que antes', 'pero los costes fueron más altos de lo previsto'],
  ],
  ar: [
    ['في الصباح', 'على حد علمنا', 'بعد الاجتماع', 'للمرة الأولى', 'في الشتاء الماضي', 'دون أي شك', 'كل بضع سنوات'],
    ['أُغلق الميناء أمام السفن', 'غيّر المجلس خطته', 'قاس زملاؤنا الأمواج', 'رُمّم الجسر القديم', 'جاء كثير من الناس للاستماع'],
    ['لأن العاصفة جاءت مبكرة', 'مع أن أحدًا لم يطلب ذلك', 'كي يستمر العمل', 'بينما كانت المدينة نائمة', 'وكانت الأرقام أفضل من قبل', 'لكن التكاليف كانت أعلى من المتوقع'],
  ],
  zh: [
    ['早上', '据我们所知', '会议之后', '这是第一次', '去年冬天', '毫无疑问', '每隔几年'],
    ['港口对船只关闭', '议会改变了计划', '我们的同事测量了海浪', '旧桥得到了修缮', '许多人前来聆听'],
    ['因为风暴来得早', '尽管没有人要求这样做', '以便工作能够继续', '而城市还在沉睡', '而且数字比以前更好', '但费用高于预期'],
  ],
};

/** With words of 180 ms these are an hour. */
const LONG = { utterances: 1200, afterMs: 300 };

/**
 * An hour of sentences, no two neighbours alike; the same each time.
 * @param {number} [utterances]
 * @returns {Spoken[]}
 */
export function longScript(utterances = LONG.utterances) {
  return Array.from({ length: utterances }, (_, n) => {
    // Lists whose lengths have no common factor repeat themselves only after all combinations.
    const say = (/** @type {keyof typeof PARTS} */ tag) => PARTS[tag].map((list) => list[n % list.length] ?? '');
    const spaced = (/** @type {keyof typeof PARTS} */ tag) => `${say(tag).join(' ')}.`;
    return {
      after: LONG.afterMs,
      text: spaced('en'),
      language: 'en',
      translations: { es: spaced('es'), ar: spaced('ar'), zh: `${say('zh').join('，')}。` },
    };
  });
}
