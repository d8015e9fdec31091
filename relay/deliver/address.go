package deliver

import (
	"net/netip"
	"slices"
)

// network is a range of addresses with its class, as dead letters and logs name it.
type network struct {
	prefix netip.Prefix
	class  string
}

func networks(class string, prefixes ...string) []network {
	out := make([]network, len(prefixes))
	for i, p := range prefixes {
		out[i] = network{netip.MustParsePrefix(p), class}
	}
	return out
}

func join(lists ...[]network) (out []network) {
	for _, l := range lists {
		out = append(out, l...)
	}
	return out
}

func classOf(addr netip.Addr, among []network) string {
	for _, n := range among {
		if n.prefix.Contains(addr) {
			return n.class
		}
	}
	return ""
}

// never are the addresses that no endpoint may have, even if a list allows them. Metadata services give a machine's
// credentials to everybody who asks: those of AWS, Azure, GCP, Alibaba, Oracle and others answer on 169.254.169.254 and
// on these.
var never = join(
	networks(metadata, "169.254.169.254/32", "169.254.170.2/32", "100.100.100.200/32", "192.0.0.192/32",
		"168.63.129.16/32",
		"fd00:ec2::254/128", "fd20:ce::254/128", "fd00:c1::a9fe:a9fe/128"),
	networks("link-local", "169.254.0.0/16", "fe80::/10"),
	networks("unspecified", "0.0.0.0/8", "::/128"),
	networks("broadcast", "255.255.255.255/32"),
	networks("multicast", "224.0.0.0/4", "ff00::/8"),
)

// always names the class of an address that is refused even where a list allows it, "" if it is no such address.
func always(addr netip.Addr) string { return classOf(addr, never) }

// listed are the special-purpose addresses that a list may allow (the registries of RFC 6890).
var listed = join(
	networks("loopback", "127.0.0.0/8", "::1/128"),
	networks("private", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fec0::/10"),
	networks("shared (carrier-grade NAT)", "100.64.0.0/10"),
	networks("documentation", "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "3fff::/20"),
	networks("benchmarking", "198.18.0.0/15", "2001:2::/48"),
	networks("reserved", "192.0.0.0/24", "192.88.99.0/24", "240.0.0.0/4", "2001:10::/28", "2001:20::/28", "5f00::/16",
		"100::/64"),
	networks("local NAT64", "64:ff9b:1::/48"),
	networks("Teredo", "2001::/32"),
)

// metadata is the class of addresses that give secrets away.
const metadata = "metadata"

var (
	linkLocal     = netip.MustParsePrefix("169.254.0.0/16")
	globalUnicast = netip.MustParsePrefix("2000::/3")
	nat64         = netip.MustParsePrefix("64:ff9b::/96")
	nat64Local    = netip.MustParsePrefix("64:ff9b:1::/48")
	sixToFour     = netip.MustParsePrefix("2002::/16")
	teredo        = netip.MustParsePrefix("2001::/32")
	compatible    = netip.MustParsePrefix("::/96")
	translated    = netip.MustParsePrefix("::ffff:0:0:0/96")
)

// special names the class of an address that a list has to allow, "" if it is public. In IPv6, public addresses are
// those in 2000::/3, and the forms that only carry an IPv4 address.
func special(addr netip.Addr) string {
	if class := classOf(addr, listed); class != "" {
		return class
	}
	if addr.Is6() && !globalUnicast.Contains(addr) && len(carried(addr)) == 0 {
		return "reserved"
	}
	return ""
}

// carried returns the IPv4 addresses that an IPv6 address may lead to: by NAT64 (RFC 6052, 8215), 6to4 (RFC 3056),
// Teredo (RFC 4380: server and client), ISATAP (RFC 5214), and as an IPv4-compatible (RFC 4291) or translated (RFC
// 2765) address. A local NAT64 prefix may have any of the lengths of RFC 6052, so all lengths are tried. A wrong length
// reads a wrong address, so only addresses that are always refused count there.
func carried(addr netip.Addr) []netip.Addr {
	if !addr.Is6() {
		return nil
	}
	b := addr.As16()
	v4 := func(i, j, k, l int) netip.Addr { return netip.AddrFrom4([4]byte{b[i], b[j], b[k], b[l]}) }
	last := v4(12, 13, 14, 15)
	switch {
	case addr == netip.IPv6Loopback():
		return nil
	case nat64.Contains(addr), compatible.Contains(addr), translated.Contains(addr):
		return []netip.Addr{last}
	case nat64Local.Contains(addr):
		return slices.DeleteFunc([]netip.Addr{v4(6, 7, 9, 10), v4(7, 9, 10, 11), v4(9, 10, 11, 12), last},
			func(a netip.Addr) bool { return !linkLocal.Contains(a) && always(a) != metadata })
	case sixToFour.Contains(addr):
		return []netip.Addr{v4(2, 3, 4, 5)}
	case teredo.Contains(addr):
		client := netip.AddrFrom4([4]byte{^b[12], ^b[13], ^b[14], ^b[15]})
		return []netip.Addr{v4(4, 5, 6, 7), client}
	case b[8]&^3 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe:
		// with the bits "universal" and "group" in either state
		return []netip.Addr{last}
	}
	return nil
}
