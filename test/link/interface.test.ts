import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseAddress } from '../../agent/address.ts';
import type { Address } from '../../agent/address.ts';
import { parseInterfaceChoice } from '../../agent/config/interface-choice.ts';
import { chooseInterface } from '../../agent/link/interface.ts';
import type { Surroundings } from '../../agent/link/interface.ts';
import { AF_INET, AF_INET6 } from '../../agent/link/rtnetlink.ts';
import type { AddressRow, LinkRow } from '../../agent/link/rtnetlink.ts';

function link(index: number, name: string, mac = '00:00:00:00:00:00'): LinkRow {
  return {
    index,
    name,
    mac,
    isUp: true,
    hasCarrier: true,
    isLoopback: name === 'lo',
    hasIpv6: true,
    forwardsIpv6: false,
    hasArp: true,
    kind: null,
    masterIndex: null,
    carrierChanges: 0,
  };
}

function row(interfaceIndex: number, text: string): AddressRow {
  const { bytes, prefixLength, family } = address(text);
  return {
    interfaceIndex,
    prefixLength,
    family: family === 4 ? AF_INET : AF_INET6,
    bytes: Buffer.from(bytes),
    scope: 0,
    flags: 0,
    label: null,
    protocol: null,
    validS: Infinity,
  };
}

function address(text: string): Address {
  return parseAddress(text) ?? assert.fail(text);
}

const AROUND: Surroundings = {
  links: [link(1, 'lo'), link(2, 'eth0', '96:00:00:11:22:33'), link(3, 'enp7s0', '86:00:00:aa:bb:02'), link(4, 'cni0')],
  addresses: [row(1, '127.0.0.1/8'), row(2, '192.0.2.5/32'), row(2, '2001:db8:1::1/64'), row(3, '10.20.0.12/32'), row(4, '10.244.0.1/24')],
  routes: [
    { family: AF_INET, interfaceIndex: 2, metric: 100 },
    { family: AF_INET, interfaceIndex: 3, metric: 200 },
    { family: AF_INET6, interfaceIndex: 2, metric: 1024 },
  ],
};

function choose(choice: string, text: string, around = AROUND): string {
  const chosen = chooseInterface(parseInterfaceChoice(choice) ?? assert.fail(choice), address(text), around);
  return chosen.is === 'chosen' ? chosen.link.name : chosen.problem;
}

describe('INTERFACE', () => {
  test('auto takes the interface whose subnet contains the address', () => {
    assert.equal(choose('auto', '10.244.0.50'), 'cni0');
    assert.equal(choose('auto', '2001:db8:1::50'), 'eth0');
  });

  test('auto takes the interface of the best default route otherwise, also where the node’s own address is a /32', () => {
    assert.equal(choose('auto', '203.0.113.10'), 'eth0');
    assert.equal(choose('auto', '2001:db8:ffff::1'), 'eth0');
  });

  test('auto takes the default route of the other family where there is none of its own', () => {
    const around = { ...AROUND, routes: AROUND.routes.filter(({ family }) => family === AF_INET) };
    assert.equal(choose('auto', '2001:db8:ffff::1', around), 'eth0');
  });

  test('auto does not follow the address itself, where somebody configured it on another interface', () => {
    const configured = { ...AROUND, addresses: [...AROUND.addresses, row(4, '203.0.113.10/32')] };
    assert.equal(choose('auto', '203.0.113.10', configured), 'eth0');
  });

  test('auto does not guess: it lists the candidates', () => {
    const twice = { ...AROUND, addresses: [...AROUND.addresses, row(3, '10.244.0.9/24')] };
    assert.equal(
      choose('auto', '10.244.0.50', twice),
      'there are several interfaces whose subnet contains 10.244.0.50: set INTERFACE to one of enp7s0, cni0',
    );
    const equal = { ...AROUND, routes: AROUND.routes.map((route) => ({ ...route, metric: 0 })) };
    assert.equal(
      choose('auto', '203.0.113.10', equal),
      'there are several interfaces with a default route: set INTERFACE to one of eth0, enp7s0',
    );
  });

  test('auto says what it looked for when there is nothing to take', () => {
    assert.equal(
      choose('auto', '203.0.113.10', { ...AROUND, routes: [] }),
      'no interface has a subnet that contains 203.0.113.10, and there is no default route; there are eth0, enp7s0, cni0',
    );
  });

  test('may be a name, a hardware address, a network or a pattern', () => {
    assert.equal(choose('enp7s0', '203.0.113.10'), 'enp7s0');
    assert.equal(choose('mac:86-00-00-AA-BB-02', '203.0.113.10'), 'enp7s0');
    assert.equal(choose('cidr:10.20.0.0/16', '203.0.113.10'), 'enp7s0');
    assert.equal(choose('/^enp/', '203.0.113.10'), 'enp7s0');
  });

  test('may be left to the provider, which tells a hardware address: until it has, nothing is chosen', () => {
    const told = (mac: string | null): string => {
      const chosen = chooseInterface({ is: 'told', mac }, address('10.20.0.50'), AROUND);
      return chosen.is === 'chosen' ? `${chosen.link.name}: ${chosen.why}` : chosen.problem;
    };
    assert.equal(choose('auto', '10.20.0.50'), 'eth0', 'without that it would be another one');
    assert.match(told(null), /the provider has not told yet/);
    assert.equal(told('86:00:00:aa:bb:02'), 'enp7s0: the provider names its hardware address 86:00:00:aa:bb:02');
    assert.equal(
      told('86:00:00:aa:bb:09'),
      'no interface has the hardware address 86:00:00:aa:bb:09, which the provider names; there are eth0, enp7s0, cni0',
    );
  });

  test('comes with the reason for the choice', () => {
    const why = (choice: string, text: string): string => {
      const chosen = chooseInterface(parseInterfaceChoice(choice) ?? assert.fail(choice), address(text), AROUND);
      return chosen.is === 'chosen' ? chosen.why : assert.fail(chosen.problem);
    };
    assert.match(why('auto', '10.244.0.50'), /own subnet contains the address/);
    assert.match(why('auto', '203.0.113.10'), /default route leads over it/);
    assert.match(why('eth0', '203.0.113.10'), /INTERFACE names it/);
    assert.match(why('mac:86:00:00:aa:bb:02', '203.0.113.10'), /INTERFACE names its hardware address/);
    assert.match(why('cidr:10.20.0.0/16', '203.0.113.10'), /an address in 10\.20\.0\.0\/16, as INTERFACE says/);
    assert.match(why('/^enp/', '203.0.113.10'), /matches \/\^enp\/, as INTERFACE says/);
  });

  test('that matches several or none says so and lists them', () => {
    assert.equal(choose('/^e/', '203.0.113.10'), 'there are several interfaces that match /^e/: set INTERFACE to one of eth0, enp7s0');
    assert.equal(
      choose('cidr:172.16.0.0/12', '203.0.113.10'),
      'no interface has an address in 172.16.0.0/12; there are eth0, enp7s0, cni0',
    );
    assert.equal(choose('eth9', '203.0.113.10'), 'there is no interface eth9; there are eth0, enp7s0, cni0');
  });

  test('is refused when it is none of these', () => {
    for (const text of ['', 'eth0 eth1', 'mac:12', 'cidr:ten', '/(/', 'a-name-that-is-too-long', 'eth0/1'])
      assert.equal(parseInterfaceChoice(text), null, text);
  });
});
