//! What `--help` prints, one text for each command.

/// `gobonding --help`.
pub const MAIN: &str = "\
gobonding bonds several internet links into one: a router at home, a proxy on a rented server.

Usage: gobonding COMMAND [OPTIONS]

Commands:
  router   run the router (at home, where the links are)
  proxy    run the proxy (on the server)
  keygen   make the keys of a router and a proxy
  pubkey   print the public key that belongs to a config file
  check    read a config file, report all its faults, end
  status   show what a running router or proxy does

`gobonding COMMAND --help` explains each.  --version prints the version.
Exit codes: 0 done, 1 failed while running, 2 wrong flag or config.
";

/// `gobonding router --help`.
pub const ROUTER: &str = "\
Runs the router until SIGTERM or ctrl-C.

Usage: gobonding router [-c FILE] [-v]

  -c, --config FILE  config file (default /etc/gobonding/gobonding.yml)
  -v, --verbose      log decisions; twice: single packets. RUST_LOG goes before it

It makes the tunnel device and gives it its addresses. Which traffic goes into the tunnel
is left to you: `scripts/router-setup` does it for a whole LAN.
Needs root or the capability CAP_NET_ADMIN.
";

/// `gobonding proxy --help`.
pub const PROXY: &str = "\
Runs the proxy until SIGTERM or ctrl-C.

Usage: gobonding proxy [-c FILE] [-v]

  -c, --config FILE  config file (default /etc/gobonding/gobonding.yml)
  -v, --verbose      log decisions; twice: single packets. RUST_LOG goes before it

It listens on one UDP port (`proxystartport`, 41414) and makes the tunnel device. Forwarding
and NAT towards the internet are left to you: `scripts/proxy-setup` does both.
Needs root or the capability CAP_NET_ADMIN.
";

/// `gobonding keygen --help`.
pub const KEYGEN: &str = "\
Makes a key pair for the router and one for the proxy, and says which block goes where.

Usage: gobonding keygen [--bits N] [--out DIR] [--another NAME]

  --bits N        size of the RSA keys, 2048 (default) to 4096
  --out DIR       write DIR/router-keys.yml and DIR/proxy-keys.yml (mode 600) instead of printing;
                  files that exist are left alone
  --another NAME  make one pair only: for another router of a proxy that has its keys
";

/// `gobonding pubkey --help`.
pub const PUBKEY: &str = "\
Prints the public key that belongs to the `privatekey` of a config file, and its fingerprint.
On the proxy that is the block for `proxykey` in a router's file.

Usage: gobonding pubkey [-c FILE]

  -c, --config FILE  config file (default /etc/gobonding/gobonding.yml)
";

/// `gobonding check --help`.
pub const CHECK: &str = "\
Reads a config file, reports all faults at once with their remedies, and ends.

Usage: gobonding check [-c FILE] [--role router|proxy]

  -c, --config FILE  config file (default /etc/gobonding/gobonding.yml)
  --role ROLE        whose file it is (default: seen from its keys)

Exit code 0 when the file is good, 2 when it is not.
";

/// `gobonding status --help`.
pub const STATUS: &str = "\
Shows what a running router or proxy does.

Usage: gobonding status [-s SOCKET] [--json | --prometheus] [--watch]

  -s, --socket SOCKET  status socket (default: the one in /run/gobonding)
  --json               one JSON object in one line
  --prometheus         Prometheus' text format
  -w, --watch          again every second until ctrl-C

Exit code 1 when no gobonding answers.
";
