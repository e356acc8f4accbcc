import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';
import type { Happening } from '../../agent/happening.ts';
import { EventRecorder } from '../../agent/kube/event-recorder.ts';
import type { EventObjects } from '../../agent/kube/event-recorder.ts';
import type { EventOutcome, SeenEvent } from '../../agent/kube/events.ts';
import { ManualClock } from '../support/manual-clock.ts';

const LEASE = { namespace: 'leasehold', name: 'leasehold' };
const POD = { namespace: 'agents', name: 'leasehold-x7k2p', uid: 'pod-uid' };
const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;

interface Request {
  readonly verb: 'create' | 'repeat';
  readonly event: SeenEvent;
  readonly atMs: number;
}

let clock: ManualClock;
let requests: Request[];
let problems: string[];
/** How the API answers. */
let answer: (request: Request) => EventOutcome | Promise<EventOutcome>;

beforeEach(() => {
  clock = new ManualClock();
  requests = [];
  problems = [];
  answer = () => ({ is: 'written' });
});

function open(objects: Partial<EventObjects> = {}, conceal = (text: string): string => text): EventRecorder {
  const request =
    (verb: Request['verb']) =>
    async (event: SeenEvent, _: number, signal: AbortSignal): Promise<EventOutcome> => {
      const made = { verb, event, atMs: clock.nowMs() };
      requests.push(made);
      const calledOff = new Promise<EventOutcome>((resolve) =>
        signal.addEventListener('abort', () => resolve({ is: 'trouble', message: 'called off', retryAfterMs: null }), { once: true }),
      );
      return await Promise.race([answer(made), calledOff]);
    };
  return new EventRecorder(
    { lease: LEASE, pod: null, ...objects },
    {
      events: { create: request('create'), repeat: request('repeat') },
      clock,
      random: () => 0.5,
      conceal,
      onProblem: (message) => problems.push(message),
      onDefect: (error) => assert.fail(error),
    },
  );
}

const happened = (note: string, more: Partial<Happening> = {}): Happening => ({
  reason: 'ClaimFailed',
  action: 'Claim',
  type: 'Warning',
  about: 'lease-and-pod',
  note,
  ...more,
});

const told = (): string[] => requests.map(({ verb, event }) => `${verb} ${event.regarding.kind} ${event.happening.note} x${event.count}`);
const trouble: EventOutcome = { is: 'trouble', message: 'connection refused', retryAfterMs: null };

describe('the recorder of Events', () => {
  test('tells of the Lease and of the pod, each in its own namespace and related to the other', async () => {
    open({ pod: POD }).record(happened('a'), 'lease-uid');
    await clock.advance(1_000);
    assert.deepEqual(
      requests.map(({ event: { regarding, related } }) => [
        regarding.kind,
        regarding.namespace,
        regarding.uid,
        related?.kind,
        related?.uid,
      ]),
      [
        ['Lease', 'leasehold', 'lease-uid', 'Pod', 'pod-uid'],
        ['Pod', 'agents', 'pod-uid', 'Lease', 'lease-uid'],
      ],
    );
  });

  test('tells of the Lease alone where no pod is known, and of the pod alone what concerns only that', async () => {
    open().record(happened('a'), 'lease-uid');
    open().record(happened('nobody', { about: 'pod' }), 'lease-uid');
    open({ pod: POD }).record(happened('mine', { about: 'pod' }), 'lease-uid');
    await clock.advance(1_000);
    assert.deepEqual(told(), ['create Lease a x1', 'create Pod mine x1']);
  });

  test('sends nothing in the moment in which something happens', async () => {
    open().record(happened('a'), 'lease-uid');
    await clock.advance(200);
    assert.deepEqual(told(), []);
    await clock.advance(100);
    assert.deepEqual(told(), ['create Lease a x1']);
  });

  test('sends one request at a time', async () => {
    let underWay = 0;
    let most = 0;
    answer = async () => {
      underWay += 1;
      most = Math.max(most, underWay);
      await new Promise((resolve) => clock.setTimer(100, () => resolve(null)));
      underWay -= 1;
      return { is: 'written' };
    };
    const recorder = open({ pod: POD });
    for (const note of ['a', 'b', 'c']) recorder.record(happened(note), 'lease-uid');
    await clock.advance(2_000);
    assert.deepEqual([requests.length, most], [6, 1]);
  });

  test('keeps the instant at which it happened, however late it is told', async () => {
    const wallMs = clock.wallMs();
    answer = () => (requests.length < 3 ? trouble : { is: 'written' });
    open().record(happened('a'), 'lease-uid');
    await clock.advance(MINUTE);
    assert.deepEqual(new Set(requests.map(({ event }) => event.firstWallMs)), new Set([wallMs]));
    assert.equal(
      new Set(requests.map(({ event }) => event.name)).size,
      1,
      'under one name, so that a try that was carried out is recognised',
    );
  });

  test('takes secrets out of what it tells', async () => {
    open({}, (text) => text.replaceAll('hidden', '…')).record(happened('a hidden thing'), 'lease-uid');
    await clock.advance(1_000);
    assert.deepEqual(told(), ['create Lease a … thing x1']);
  });

  describe('when the same happens again', () => {
    test('counts it in the Event that there is, first soon and then ever more rarely', async () => {
      const recorder = open();
      for (let count = 0; count < 60; count += 1) {
        recorder.record(happened('a'), 'lease-uid');
        await clock.advance(MINUTE);
      }
      const [first, ...others] = requests;
      assert.equal(first?.verb, 'create');
      assert.deepEqual(new Set(others.map(({ verb, event }) => `${verb} ${event.name}`)), new Set([`repeat ${first.event.name}`]));
      assert.ok(others.length >= 7 && others.length <= 12, `${others.length} changes in an hour`);
      await clock.advance(15 * MINUTE);
      assert.equal(requests.at(-1)?.event.count, 60, 'the last count is the right one');
      assert.deepEqual(recorder.counts.dropped, { budget: 0, waited: 0, refused: 0 });
    });

    test('tells it anew when it has not happened for six minutes', async () => {
      const recorder = open();
      recorder.record(happened('a'), 'lease-uid');
      await clock.advance(5.9 * MINUTE);
      recorder.record(happened('a'), 'lease-uid');
      await clock.advance(6.1 * MINUTE);
      recorder.record(happened('a'), 'lease-uid');
      await clock.advance(MINUTE);
      assert.deepEqual(told(), ['create Lease a x1', 'repeat Lease a x2', 'create Lease a x1']);
      assert.notEqual(requests[0]?.event.name, requests[2]?.event.name);
    });

    test('takes what differs only in how long something took for the same, and nothing else', async () => {
      const recorder = open();
      recorder.record(happened('no answer within 2001ms from 10.0.0.1'), 'lease-uid');
      recorder.record(happened('no answer within 1999ms from 10.0.0.1'), 'lease-uid');
      recorder.record(happened('no answer within 1999ms from 10.0.0.2'), 'lease-uid');
      recorder.record(happened('no answer within 2001ms from 10.0.0.1', { reason: 'BindFailed' }), 'lease-uid');
      await clock.advance(1_000);
      assert.deepEqual(
        requests.map(({ event }) => [event.happening.reason, event.count]),
        [
          ['ClaimFailed', 2],
          ['ClaimFailed', 1],
          ['BindFailed', 1],
        ],
      );
    });

    test('makes a new Event of what happened since, where the old one has run out', async () => {
      const recorder = open();
      recorder.record(happened('a'), 'lease-uid');
      await clock.advance(1_000);
      answer = ({ verb }) => ({ is: verb === 'repeat' ? 'gone' : 'written' });
      recorder.record(happened('a'), 'lease-uid');
      recorder.record(happened('a'), 'lease-uid');
      await clock.advance(MINUTE);
      assert.deepEqual(told(), ['create Lease a x1', 'repeat Lease a x3', 'create Lease a x2']);
      assert.notEqual(requests[2]?.event.name, requests[0]?.event.name);
    });

    test('keeps Events of a Lease apart from those of one that was made anew', async () => {
      const recorder = open();
      recorder.record(happened('a'), 'lease-uid');
      recorder.record(happened('a'), 'another-uid');
      await clock.advance(1_000);
      assert.deepEqual(
        requests.map(({ event }) => event.regarding.uid),
        ['lease-uid', 'another-uid'],
      );
    });
  });

  describe('so that the API can bear it', () => {
    test('sends of one object no more than 25 requests at once and one every five minutes, whatever happens', async () => {
      const recorder = open({ pod: POD });
      const startedAtMs = clock.nowMs();
      // Everything is new each time: the worst there can be.
      for (let second = 0; second < DAY / 1_000; second += 10) {
        recorder.record(happened(`failure number ${second}`), 'lease-uid');
        await clock.advance(10_000);
      }
      for (const kind of ['Lease', 'Pod']) {
        const sent = requests.filter(({ event }) => event.regarding.kind === kind);
        assert.ok(sent.length <= 25 + DAY / (5 * MINUTE), `${sent.length} in a day`);
        for (const [index, { atMs }] of sent.entries())
          assert.ok(index + 1 <= 25 + (atMs - startedAtMs) / (5 * MINUTE) + 1, `the ${index + 1}th came too early`);
      }
      assert.ok(recorder.counts.dropped.budget > 16_000);
    });

    test('leaves some of the budget to what is new', async () => {
      const recorder = open();
      for (let note = 0; note < 19; note += 1) recorder.record(happened(`other ${note}`), 'lease-uid');
      recorder.record(happened('a'), 'lease-uid');
      await clock.advance(1_000);
      for (let count = 0; count < 15; count += 1) {
        recorder.record(happened('a'), 'lease-uid');
        await clock.advance(MINUTE / 4);
      }
      recorder.record(happened('news'), 'lease-uid');
      await clock.advance(1_000);
      assert.ok(told().includes('create Lease news x1'));
      assert.ok(
        told().every((each) => !each.startsWith('repeat')),
        'the repetitions wait for a larger budget',
      );
      await clock.advance(30 * MINUTE);
      assert.ok(told().some((each) => each.startsWith('repeat')));
    });

    test('does as the server asks when it has had enough', async () => {
      answer = () => (requests.length === 1 ? { is: 'trouble', message: '429', retryAfterMs: 20_000 } : { is: 'written' });
      open().record(happened('a'), 'lease-uid');
      await clock.advance(MINUTE);
      const [first, second] = requests;
      assert.ok(first !== undefined && second !== undefined && second.atMs - first.atMs >= 20_000);
    });
  });

  describe('while the API is away', () => {
    test('goes on trying with growing pauses, and tells everything in its order once it is back', async () => {
      answer = () => trouble;
      const recorder = open();
      recorder.record(happened('a'), 'lease-uid');
      await clock.advance(1_000);
      recorder.record(happened('b'), 'lease-uid');
      await clock.advance(5 * MINUTE);
      assert.ok(requests.length < 25, `${requests.length} tries in five minutes`);
      answer = () => ({ is: 'written' });
      requests = [];
      await clock.advance(MINUTE);
      assert.deepEqual(told(), ['create Lease a x1', 'create Lease b x1']);
    });

    test('drops what is ten minutes old, counts it, and says so once', async () => {
      answer = () => trouble;
      const recorder = open();
      for (const note of ['a', 'b', 'c']) recorder.record(happened(note), 'lease-uid');
      await clock.advance(12 * MINUTE);
      assert.equal(recorder.counts.dropped.waited, 3);
      assert.deepEqual(problems, ['Events are dropped: the Kubernetes API has taken none for 10 minutes']);
      requests = [];
      answer = () => ({ is: 'written' });
      await clock.advance(5 * MINUTE);
      assert.deepEqual(told(), []);
    });

    test('keeps what goes on happening, and tells with one Event since when', async () => {
      answer = () => trouble;
      const recorder = open();
      const wallMs = clock.wallMs();
      for (let minute = 0; minute < 180; minute += 1) {
        recorder.record(happened('going on without the Kubernetes API', { reason: 'HoldingOver' }), 'lease-uid');
        await clock.advance(MINUTE);
      }
      answer = () => ({ is: 'written' });
      await clock.advance(MINUTE);
      const last = requests.at(-1)?.event;
      assert.deepEqual([last?.count, last?.firstWallMs], [180, wallMs]);
      assert.equal(recorder.counts.created, 1);
    });

    test('remembers no more than so much', async () => {
      answer = () => trouble;
      const recorder = open();
      for (let note = 0; note < 10_000; note += 1) recorder.record(happened(`note ${note}`), 'lease-uid');
      await clock.advance(30 * MINUTE);
      assert.equal(recorder.counts.dropped.budget + recorder.counts.dropped.waited, 10_000);
      assert.equal(recorder.counts.dropped.waited, 25);
      assert.ok(clock.timers <= 1);
    });
  });

  describe('where Events are refused', () => {
    test('says once what to grant, and is quiet for a while', async () => {
      answer = () => ({ is: 'refused', message: '403; grant the verbs' });
      const recorder = open();
      for (let minute = 0; minute < 60; minute += 1) {
        recorder.record(happened(`note ${minute}`), 'lease-uid');
        await clock.advance(MINUTE);
      }
      assert.deepEqual(problems, ['Events cannot be written: 403; grant the verbs']);
      assert.ok(requests.length <= 7, `${requests.length} tries in an hour`);
      assert.equal(recorder.counts.dropped.refused, 60);
    });

    test('goes on in the other namespace', async () => {
      answer = ({ event }) => (event.regarding.kind === 'Lease' ? { is: 'refused', message: '403' } : { is: 'written' });
      const recorder = open({ pod: POD });
      recorder.record(happened('a'), 'lease-uid');
      await clock.advance(1_000);
      recorder.record(happened('b'), 'lease-uid');
      await clock.advance(1_000);
      assert.deepEqual(told(), ['create Lease a x1', 'create Pod a x1', 'create Pod b x1']);
    });

    test('drops the one that the server does not take, and goes on with the next', async () => {
      answer = ({ event }) => (event.happening.note === 'a' ? { is: 'unacceptable', message: '422' } : { is: 'written' });
      const recorder = open();
      recorder.record(happened('a'), 'lease-uid');
      recorder.record(happened('b'), 'lease-uid');
      await clock.advance(1_000);
      assert.deepEqual(told(), ['create Lease a x1', 'create Lease b x1']);
      assert.deepEqual([problems, recorder.counts.dropped.refused], [['an Event was not accepted: 422'], 1]);
    });
  });

  describe('at the end', () => {
    test('tells at once what is left to tell, and nothing afterwards', async () => {
      const recorder = open();
      recorder.record(happened('a'), 'lease-uid');
      recorder.record(happened('a'), 'lease-uid');
      await recorder.end(1_000);
      recorder.record(happened('b'), 'lease-uid');
      await clock.advance(MINUTE);
      assert.deepEqual(told(), ['create Lease a x2']);
      assert.equal(clock.timers, 0);
    });

    test('does not wait for an API that does not answer', async () => {
      answer = () => new Promise(() => undefined);
      const recorder = open();
      for (const note of ['a', 'b', 'c']) recorder.record(happened(note), 'lease-uid');
      let isOver = false;
      const ending = recorder.end(1_000).then(() => (isOver = true));
      await clock.advance(990);
      assert.equal(isOver, false);
      await clock.advance(20);
      assert.equal(isOver, true);
      await ending;
      assert.equal(recorder.counts.dropped.waited, 3);
    });

    test('gives up at the first refusal to talk', async () => {
      answer = () => trouble;
      const recorder = open();
      for (const note of ['a', 'b', 'c']) recorder.record(happened(note), 'lease-uid');
      await recorder.end(1_000);
      assert.equal(requests.length, 1);
    });
  });
});
