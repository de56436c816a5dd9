/** A web shop in three tiers with an office behind a gateway. */
export const shop = {
  version: 1,
  encapsulation: 'auto',
  rules: [
    { from: ['role:web'], to: ['role:app'], ports: ['tcp/8080', 'tcp/9000-9010'] },
    { note: 'orders', from: ['role:app'], to: ['role:db'], ports: ['tcp/5432'] },
    { from: ['*'], to: ['*'], ports: ['icmp'] },
    { from: ['vmid:admin'], to: ['*', 'subnet:10.20.0.0/16'], ports: ['tcp/22'] },
    { from: ['subnet:10.20.0.0/16'], to: ['role:web'], ports: ['tcp/443'] },
  ],
  routes: [{ gateway: 'vmid:gw-1', subnets: ['10.20.0.0/16', 'fd20::/48'] }],
  tests: [
    { from: 'role:web', to: 'role:app', port: 'tcp/8080', expect: 'allow' },
    { from: 'role:web', to: 'role:db', port: 'tcp/5432', expect: 'deny' },
    { from: '*', to: 'role:db', port: 'icmp', expect: 'allow' },
    { from: 'subnet:10.20.3.0/24', to: 'role:web', port: 'tcp/443', expect: 'allow' },
    {
      from: ['vmid:admin', 'role:web'],
      to: 'subnet:10.20.0.0/16',
      port: 'tcp/22',
      expect: 'allow',
    },
  ],
};
