package api

import (
	"slices"
	"strings"
)

// becomesOfRemoved is what becomes of an endpoint that is in no config any more, as every answer has it.
const becomesOfRemoved = "is in no config: it was removed or renamed; its open deliveries become dead letters after " +
	"delivery.orphan_grace, unless it is put back"

// removedOf are the endpoints of a tenant (empty: of all) that are in no config, and still hold something, by name.
// Only the operator is told of them.
func (c *call) removedOf(tenant string) (names []string) {
	if c.tenant != "" {
		return nil
	}
	for _, name := range c.snapshot().busy {
		owner, _, _ := strings.Cut(name, "/")
		if c.settings.endpoints[name] == nil && (tenant == "" || owner == tenant) {
			names = append(names, name)
		}
	}
	return names
}

// inConfig says whether an endpoint is in the config.
func (c *call) inConfig(name string) bool { return c.settings.endpoints[name] != nil }

// isRemoved says whether an endpoint is one of these.
func (c *call) isRemoved(name string) bool {
	owner, _, _ := strings.Cut(name, "/")
	return slices.Contains(c.removedOf(owner), name)
}

// removedTenants are the tenants that are in no config, and of which there still are endpoints or subscriptions, by
// name.
func (c *call) removedTenants() (names []string, err error) {
	if c.tenant != "" {
		return nil, nil
	}
	names, err = c.subscriptions.Subscribers(c.ctx())
	for _, endpoint := range c.removedOf("") {
		owner, _, _ := strings.Cut(endpoint, "/")
		names = append(names, owner)
	}
	names = slices.DeleteFunc(names, func(name string) bool { return c.settings.tenants[name] != nil })
	slices.Sort(names)
	return slices.Compact(names), err
}

// checkTenant refuses a tenant that there is not. removedToo says whether it may be one that was removed.
func (c *call) checkTenant(name string, removedToo bool) error {
	if c.settings.tenants[name] != nil {
		return nil
	}
	removed, err := c.removedTenants()
	switch {
	case slices.Contains(removed, name) && removedToo:
		return nil
	case slices.Contains(removed, name):
		return badf("tenant: %s %s", name, becomesOfRemoved)
	case err != nil:
		return c.failed("list tenants with subscriptions", err)
	}
	return badf("tenant: there is no tenant %q", name)
}

// fullNameToRead is fullName for what only reads: the operator may also read of an endpoint that was removed.
func (c *call) fullNameToRead(name, tenant string) (string, error) {
	full, err := c.fullName(name, tenant)
	if err == nil {
		return full, nil
	}
	if !strings.Contains(name, "/") && tenant != "" {
		name = tenant + "/" + name
	}
	if c.isRemoved(name) && (tenant == "" || strings.HasPrefix(name, tenant+"/")) {
		return name, nil
	}
	return "", err
}
