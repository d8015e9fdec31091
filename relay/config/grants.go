package config

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// grants are what the operator's file allows the files of tenants_dir. Tenants write those files, and they are checked
// and used where the operator's secrets are. The operator's file itself may use everything.
type grants struct {
	main     string          // the operator's file, for messages
	folder   string          // tenants_dir, absolute and without links
	files    []string        // tenants_files, likewise
	env      []string        // tenants_env
	reserved map[string]bool // the variables of the operator's file
	networks []netip.Prefix  // egress.tenant_cidrs, and egress.allow_cidrs, which every endpoint may use
}

// permissions are what one file of tenants_dir may use.
type permissions struct {
	*grants
	tenant string // its name; empty until it was read
	// variables and used are allowed by their names. When all tenants are known, checkOwners finds those that belong
	// to another tenant.
	variables []use
	used      []use
}

// use is a variable or a file that a value refers to. A file is relative to tenants_dir.
type use struct {
	name string
	by   value
}

// newGrants returns what the config allows the files in dir. base is the folder that relative paths in the config are
// relative to.
func (l *loading) newGrants(dir, base string) *grants {
	c := l.config
	main := l.sources[0]

	g := &grants{
		main:     main.path,
		folder:   withoutLinks(dir),
		env:      c.TenantsEnv,
		reserved: main.variables,
		networks: slices.Concat(c.Egress.TenantCIDRs, c.Egress.AllowCIDRs),
	}

	for _, path := range c.TenantsFiles {
		if !filepath.IsAbs(path) {
			path = filepath.Join(base, path)
		}
		g.files = append(g.files, withoutLinks(path))
	}

	return g
}

// withoutLinks returns path as an absolute one, with its links resolved as far as it exists.
func withoutLinks(path string) string {
	if absolute, err := filepath.Abs(path); err == nil {
		path = absolute
	}

	if resolved, err := filepath.EvalSymlinks(path); err == nil {
		return resolved
	}
	if parent := filepath.Dir(path); parent != path {
		return filepath.Join(withoutLinks(parent), filepath.Base(path))
	}
	return path
}

// below returns path relative to a folder. It returns false if path leads out of the folder.
func below(folder, path string) (string, bool) {
	rel, err := filepath.Rel(folder, path)
	return rel, err == nil && filepath.IsLocal(rel)
}

// variablePrefix returns what the variables of a tenant begin with: its name in upper case, with _ for each character
// that is no letter or digit.
func variablePrefix(tenant string) string {
	word := func(r rune) rune {
		if 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' {
			return r
		}
		return '_'
	}
	return strings.Map(word, strings.ToUpper(tenant)) + "_"
}

// refuse returns why the value must not use a variable; empty: it may. It does not depend on whether the variable is
// set.
func (p *permissions) refuse(variable string, by value) string {
	switch {
	case slices.Contains(p.env, variable):
		return ""
	case p.reserved[variable], strings.HasPrefix(variable, "KUAIRELAY_"), strings.HasPrefix(variable, "KUAIDIHELP_"):
		return fmt.Sprintf("variable %s is the operator's; tenants_env in %s allows it", variable, p.main)
	case p.tenant == "":
		return fmt.Sprintf("variable %s is not known to be the tenant's, which has no name; tenants_env in %s allows it",
			variable, p.main)
	case !strings.HasPrefix(variable, variablePrefix(p.tenant)):
		return fmt.Sprintf("variable %s is not the tenant's: those begin with %s; tenants_env in %s allows others",
			variable, variablePrefix(p.tenant), p.main)
	}

	p.variables = append(p.variables, use{name: variable, by: by})
	return ""
}

// locate returns the path without its links, so that the file that is read is the one that was allowed. names are its
// names in tenants_dir: that of the file and, if path is a link, that of the link; none if tenants_files allows the
// file. The error says why the file must not be read.
func (g *grants) locate(path string) (resolved string, names []string, err error) {
	outside := fmt.Errorf("it is outside of tenants_dir; tenants_files in %s allows it", g.main)
	written := filepath.Join(withoutLinks(filepath.Dir(path)), filepath.Base(path))

	name, inside := below(g.folder, written)
	resolved, err = filepath.EvalSymlinks(written)

	// tenants_files allows a file without asking whose it is.
	granted := func(allowed string) bool {
		_, ok := below(allowed, cmp.Or(resolved, written))
		return ok
	}
	switch {
	case err != nil && inside:
		return "", []string{name}, reason(err)
	case err != nil && slices.ContainsFunc(g.files, granted):
		return "", nil, reason(err)
	case err != nil: // nor must it show whether there is such a file somewhere else
		return "", nil, outside
	}
	if slices.ContainsFunc(g.files, granted) {
		return resolved, nil, nil
	}

	// Any other file has to be in tenants_dir, after all links are followed.
	target, ok := below(g.folder, resolved)
	if !ok {
		return "", nil, outside
	}

	names = []string{target}
	if inside && name != target {
		names = append(names, name)
	}
	return resolved, names, nil
}

// open returns the path to read in place of the one that a value refers to. The error says why it must not be read.
func (p *permissions) open(path string, by value) (string, error) {
	resolved, names, err := p.locate(path)
	for _, name := range names {
		p.used = append(p.used, use{name: name, by: by})
	}
	return resolved, err
}

// checkOwners finds files of tenants_dir that use a variable or a file that is another tenant's by its name. If there
// is a tenant shop-a, then SHOP_A_KEY, shop-a.key and shop-a/key are not for tenant shop.
func (l *loading) checkOwners() {
	byPrefix := map[string][]string{}
	for _, name := range slices.Sorted(maps.Keys(l.names)) {
		prefix := variablePrefix(name)
		byPrefix[prefix] = append(byPrefix[prefix], name)
	}

	for _, src := range l.sources {
		p := src.permissions
		if p == nil {
			continue
		}

		for _, variable := range p.variables {
			if other := ownerOfVariable(variable.name, p.tenant, byPrefix); other != "" {
				variable.by.mistake("variable %s is that of tenant %s, by its name; tenants_env in %s allows it",
					variable.name, ofOther(other), p.main)
			}
		}

		for _, file := range p.used {
			if other := l.ownerOfFile(file.name); other != "" && other != p.tenant {
				file.by.mistake("the file is that of tenant %s, by its name; tenants_files in %s allows it", ofOther(other), p.main)
			}
		}
	}
}

// ownerOfVariable returns another tenant whose prefix the variable has, if that prefix is at least as long as this
// tenant's; empty: none.
func ownerOfVariable(variable, tenant string, byPrefix map[string][]string) string {
	for end := len(variablePrefix(tenant)); end <= len(variable); end++ {
		for _, other := range byPrefix[variable[:end]] {
			if other != tenant {
				return other
			}
		}
	}
	return ""
}

// ownerOfFile returns the tenant whose name the path begins with, or the first folder in it for which there is one;
// empty: the file is everybody's.
func (l *loading) ownerOfFile(path string) string {
	for segment := range strings.SplitSeq(filepath.ToSlash(path), "/") {
		if strings.HasPrefix(segment, "..") { // what a mounted ConfigMap links to
			continue
		}
		for end := len(segment); end > 0; end-- {
			wordEnds := end == len(segment) || !isLetterOrDigit(segment[end])
			if _, isTenant := l.names[segment[:end]]; wordEnds && isTenant {
				return segment[:end]
			}
		}
	}
	return ""
}

func isLetterOrDigit(b byte) bool {
	return 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9'
}

// inTenantsFile adds a check to r, for values in a file of tenants_dir.
func inTenantsFile(r reader, check func(value)) reader {
	read := r.read
	r.read = func(v value) {
		read(v)
		if v.src.permissions != nil {
			check(v)
		}
	}
	return r
}

// ownNetworks reads the networks that an endpoint may be in.
func ownNetworks(out *[]netip.Prefix) reader {
	return reader{shape: listOf(network.scalar(), 0), read: func(v value) {
		for _, item := range v.items() {
			own, ok := scalar(item, network)
			if !ok {
				continue
			}

			within := func(allowed netip.Prefix) bool {
				return allowed.Bits() <= own.Bits() && allowed.Contains(own.Addr())
			}
			if p := item.src.permissions; p != nil && !slices.ContainsFunc(p.networks, within) {
				item.mistake("is not within egress.tenant_cidrs in %s, which says what files of tenants_dir may allow themselves",
					p.main)
			}

			*out = append(*out, own)
		}
	}}
}

// The most that a file of tenants_dir may give an endpoint, unless delivery in the operator's file gives every
// endpoint more.
const (
	tenantInFlight = 256
	tenantBacklog  = 1_000_000
	tenantMaxAge   = 30 * 24 * time.Hour
	tenantRetries  = 100
	tenantHeaders  = 8 << 10 // bytes, names and values of all headers of an endpoint: servers refuse more
)

// endpointDelivery returns the delivery keys of an endpoint. In a tenant's file, keys that cost memory of the relay
// or of Redis are bounded.
func (l *loading) endpointDelivery(d *Delivery) []field {
	most := l.config.Delivery
	return capped(deliveryKeys(d), "delivery.", map[string]func() string{
		"max_in_flight": func() string { return above(d.MaxInFlight, max(tenantInFlight, most.MaxInFlight), strconv.Itoa) },
		"max_backlog":   func() string { return above(d.MaxBacklog, max(tenantBacklog, most.MaxBacklog), strconv.Itoa) },
		"max_age":       func() string { return above(d.MaxAge, max(tenantMaxAge, most.MaxAge), inDays) },
		"retry": func() string {
			inPauses := func(n int) string { return fmt.Sprintf("%d pauses", n) }
			return above(len(d.Retry), max(tenantRetries, len(most.Retry)), inPauses)
		},
	})
}

// tenantLimits returns the keys of a tenant's own limits. A tenant's file can lower the operator's, not raise them.
// 0, which is no limit, is the highest.
func (l *loading) tenantLimits(own *Limits) []field {
	most := l.config.Subscriptions.Limits
	limit := func(own *int, most int) func() string {
		return func() string {
			if most == 0 || *own > 0 && *own <= most {
				return ""
			}
			return strconv.Itoa(most)
		}
	}
	return capped(limits(own), "subscriptions.", map[string]func() string{
		"rate":        limit(&own.Rate, most.Rate),
		"daily_quota": limit(&own.DailyQuota, most.DailyQuota),
	})
}

// tenantAllowance returns the keys of a tenant's own allowance, which its file cannot raise either.
func (l *loading) tenantAllowance(own *Allowance) []field {
	most := l.config.Limits.Allowance
	return capped(allowance(own), "limits.", map[string]func() string{
		"reads":   func() string { return above(own.Reads, most.Reads, strconv.Itoa) },
		"tests":   func() string { return above(own.Tests, most.Tests, strconv.Itoa) },
		"replays": func() string { return above(own.Replays, most.Replays, strconv.Itoa) },
	})
}

// above returns the bound, as it is written, if own is above it; otherwise nothing.
func above[T int | time.Duration](own, most T, written func(T) string) string {
	if own <= most {
		return ""
	}
	return written(most)
}

func inDays(d time.Duration) string { return strconv.FormatFloat(d.Hours()/24, 'g', 4, 64) + "d" }

// capped adds bounds to keys, for files of tenants_dir. A bound returns the most that is allowed, or nothing if the
// value keeps to it. section is where the operator has the key.
func capped(keys []field, section string, bounds map[string]func() string) []field {
	for i, k := range keys {
		bound := bounds[k.name]
		if bound == nil {
			continue
		}

		keys[i].reader = inTenantsFile(k.reader, func(v value) {
			if most := bound(); most != "" {
				v.mistake("is more than a file of tenants_dir may have (%s); raise %s%s in %s to allow it",
					most, section, k.name, v.src.permissions.main)
			}
		})
	}
	return keys
}

// headersOfTenant reads headers, and bounds them in a tenant's file: each running request has them in memory.
func headersOfTenant(out *[]Header) reader {
	return inTenantsFile(headers(out), func(v value) {
		total := 0
		for _, h := range *out {
			total += len(h.Name) + len(h.Value)
		}
		if total > tenantHeaders {
			v.mistake("hold more than %d bytes, which is the most in a file of tenants_dir", tenantHeaders)
		}
	})
}
