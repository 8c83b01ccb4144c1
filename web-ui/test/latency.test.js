import assert from 'node:assert/strict';
import { test } from 'node:test';

import { AudioClock, Latency } from '../page/captions/latency.js';

test('audio is found between the marks of its frame', () => {
  const clock = new AudioClock();
  clock.mark(100, 5100);
  clock.mark(200, 5200);
  clock.mark(300, 5350);
  assert.equal(clock.heardAt(200), 5200);
  assert.equal(clock.heardAt(250), 5300);
  assert.equal(clock.heardAt(50), 5050);
});

test('audio not yet sent, or too long ago, has no time', () => {
  const clock = new AudioClock();
  assert.equal(clock.heardAt(0), null);
  for (let i = 1; i <= 1300; i += 1) clock.mark(i * 100, i * 100);
  assert.equal(clock.heardAt(200_000), null);
  assert.equal(clock.heardAt(100), null);
  assert.equal(clock.heardAt(20_000), 20_000);
});

test('the median forgets the oldest and never goes below zero', () => {
  const latency = new Latency();
  assert.equal(latency.median(), null);
  for (let i = 0; i < 21; i += 1) latency.add(9000);
  for (let i = 0; i < 21; i += 1) latency.add(i < 11 ? -5 : 700);
  assert.equal(latency.median(), 0);
});
