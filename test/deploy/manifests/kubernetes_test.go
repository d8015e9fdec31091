package manifests

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// cluster is all objects of the manifests.
type cluster struct {
	namespace  *corev1.Namespace
	configs    map[string]*corev1.ConfigMap
	account    *corev1.ServiceAccount
	relay      *appsv1.StatefulSet
	budget     *policyv1.PodDisruptionBudget
	services   map[string]*corev1.Service
	policy     *networkingv1.NetworkPolicy
	ingresses  []*networkingv1.Ingress
	namespaces []string // of each object that is in one
}

// manifests reads all files as the API server would: a field that it does not know is a mistake.
func manifests(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{configs: map[string]*corev1.ConfigMap{}, services: map[string]*corev1.Service{}}
	names, err := filepath.Glob(files + "kubernetes/*.yaml")
	if err != nil || len(names) < 4 {
		t.Fatalf("the files are %v: %v", names, err)
	}
	for _, name := range names {
		for i, document := range strings.Split(text(t, name), "\n---\n") {
			if err := c.add([]byte(document)); err != nil {
				t.Errorf("%s, object %d: %v", name, i+1, err)
			}
		}
	}
	if c.namespace == nil || c.relay == nil || c.budget == nil || c.policy == nil || len(c.configs) != 1 ||
		len(c.services) != 2 || len(c.ingresses) != 2 || c.account == nil {
		t.Fatalf("an object is missing: %+v", c)
	}
	return c
}

// kinds are the kinds of objects that the manifests have.
var kinds = map[metav1.TypeMeta]func() metav1.Object{
	{APIVersion: "v1", Kind: "Namespace"}:                       object[corev1.Namespace],
	{APIVersion: "v1", Kind: "ConfigMap"}:                       object[corev1.ConfigMap],
	{APIVersion: "v1", Kind: "ServiceAccount"}:                  object[corev1.ServiceAccount],
	{APIVersion: "v1", Kind: "Service"}:                         object[corev1.Service],
	{APIVersion: "apps/v1", Kind: "StatefulSet"}:                object[appsv1.StatefulSet],
	{APIVersion: "policy/v1", Kind: "PodDisruptionBudget"}:      object[policyv1.PodDisruptionBudget],
	{APIVersion: "networking.k8s.io/v1", Kind: "NetworkPolicy"}: object[networkingv1.NetworkPolicy],
	{APIVersion: "networking.k8s.io/v1", Kind: "Ingress"}:       object[networkingv1.Ingress],
}

func object[T any, P interface {
	*T
	metav1.Object
}]() metav1.Object {
	return P(new(T))
}

func (c *cluster) add(document []byte) error {
	var of metav1.TypeMeta
	if err := yaml.Unmarshal(document, &of); err != nil {
		return err
	}
	empty, ok := kinds[of]
	if !ok {
		return fmt.Errorf("nothing is known of %+v", of)
	}
	o := empty()
	if err := strict(document, o); err != nil {
		return err
	}

	switch o := o.(type) {
	case *corev1.Namespace:
		c.namespace = o
		return nil
	case *corev1.ConfigMap:
		c.configs[o.Name] = o
	case *corev1.ServiceAccount:
		c.account = o
	case *corev1.Service:
		c.services[o.Name] = o
	case *appsv1.StatefulSet:
		c.relay = o
	case *policyv1.PodDisruptionBudget:
		c.budget = o
	case *networkingv1.NetworkPolicy:
		c.policy = o
	case *networkingv1.Ingress:
		c.ingresses = append(c.ingresses, o)
	}
	c.namespaces = append(c.namespaces, o.GetNamespace())
	return nil
}

// strict decodes as the API server does: no key twice, none that is not known, and each in the right case.
func strict(document []byte, into any) error {
	text, err := yaml.YAMLToJSONStrict(document)
	if err != nil {
		return err
	}
	mistakes, err := json.UnmarshalStrict(text, into)
	return errors.Join(append(mistakes, err)...)
}

func TestKubernetesTakesTheManifests(t *testing.T) {
	t.Parallel()
	c := manifests(t)
	for _, in := range c.namespaces {
		if in != c.namespace.Name {
			t.Errorf("an object is in the namespace %q", in)
		}
	}
	for _, key := range []string{"selectors", "Selector"} {
		mistake := []byte("apiVersion: v1\nkind: Service\nspec: {" + key + ": {a: b}}\n")
		if err := new(cluster).add(mistake); err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("of the field %s it says %v", key, err)
		}
	}
}

func TestEverySelectorFindsTheReplicas(t *testing.T) {
	t.Parallel()
	c := manifests(t)
	pod := labels.Set(c.relay.Spec.Template.Labels)
	selectors := map[string]*metav1.LabelSelector{
		"the StatefulSet": c.relay.Spec.Selector, "the budget": c.budget.Spec.Selector,
		"the policy": &c.policy.Spec.PodSelector,
		"the spread": c.relay.Spec.Template.Spec.TopologySpreadConstraints[0].LabelSelector,
	}
	for name, s := range c.services {
		selectors["the service "+name] = &metav1.LabelSelector{MatchLabels: s.Spec.Selector}
	}
	for name, s := range selectors {
		selector, err := metav1.LabelSelectorAsSelector(s)
		if err != nil || selector.Empty() || !selector.Matches(pod) {
			t.Errorf("%s selects %v, and the pods have %v (%v)", name, selector, pod, err)
		}
	}
	if *c.relay.Spec.Replicas != 2 || c.budget.Spec.MinAvailable.IntValue() != 1 {
		t.Errorf("of %d replicas %v may not be missing", *c.relay.Spec.Replicas, c.budget.Spec.MinAvailable)
	}
	if c.services[c.relay.Spec.ServiceName].Spec.ClusterIP != corev1.ClusterIPNone {
		t.Errorf("%s gives no replica a name", c.relay.Spec.ServiceName)
	}
}

func TestEveryPortHasAName(t *testing.T) {
	t.Parallel()
	c := manifests(t)
	config := parse(t, c.configs["kuairelay"].Data["config.yaml"])
	relay := container(t, c)
	ports := map[string]string{}
	for _, p := range relay.Ports {
		ports[p.Name] = fmt.Sprintf(":%d", p.ContainerPort)
	}
	if ports["public"] != config.Server.Listen || ports["private"] != config.Admin.Listen || len(ports) != 2 {
		t.Errorf("the ports are %v, and the relay listens on %s and %s", ports, config.Server.Listen, config.Admin.Listen)
	}

	var named []string
	for _, s := range c.services {
		for _, p := range s.Spec.Ports {
			named = append(named, p.TargetPort.StrVal)
		}
	}
	for _, rule := range c.policy.Spec.Ingress {
		for _, p := range rule.Ports {
			named = append(named, p.Port.StrVal)
		}
	}
	for name, probe := range map[string]*corev1.Probe{
		"/healthz start": relay.StartupProbe, "/healthz live": relay.LivenessProbe, "/readyz ready": relay.ReadinessProbe,
	} {
		path, _, _ := strings.Cut(name, " ")
		if probe.HTTPGet.Path != path {
			t.Errorf("%s asks %s", name, probe.HTTPGet.Path)
		}
		named = append(named, probe.HTTPGet.Port.StrVal)
	}
	for _, name := range named {
		if ports[name] == "" {
			t.Errorf("there is no port %q", name)
		}
	}
	for _, i := range c.ingresses {
		for _, p := range i.Spec.Rules[0].HTTP.Paths {
			backend := p.Backend.Service
			s := c.services[backend.Name]
			if s == nil || !slices.ContainsFunc(s.Spec.Ports, func(p corev1.ServicePort) bool {
				return p.Name == backend.Port.Name && p.TargetPort.StrVal == "public"
			}) {
				t.Errorf("%s leads to %+v", p.Path, backend)
			}
		}
	}
}

// container is that of the relay, the only one.
func container(t *testing.T, c *cluster) corev1.Container {
	t.Helper()
	all := c.relay.Spec.Template.Spec.Containers
	if len(all) != 1 || len(c.relay.Spec.Template.Spec.InitContainers) != 0 {
		t.Fatalf("there are %d containers", len(all))
	}
	return all[0]
}

func TestAReplicaHasTheTimeToStop(t *testing.T) {
	t.Parallel()
	c := manifests(t)
	relay := container(t, c)
	wait := time.Duration(*c.relay.Spec.Template.Spec.TerminationGracePeriodSeconds) * time.Second
	before := time.Duration(relay.Lifecycle.PreStop.Sleep.Seconds) * time.Second
	if before <= 0 {
		t.Error("the relay stops before Kubernetes has stopped to send it requests")
	}
	if len(relay.Args)+len(relay.Command) != 0 {
		t.Errorf("it runs %v %v, and not what the image runs", relay.Command, relay.Args)
	}
	enough(t, wait-before)
}

func TestAReplicaHasNoMoreRightsThanItNeeds(t *testing.T) {
	t.Parallel()
	c := manifests(t)
	pod, relay := c.relay.Spec.Template.Spec, container(t, c)
	s := relay.SecurityContext
	if *s.AllowPrivilegeEscalation || !*s.ReadOnlyRootFilesystem || fmt.Sprint(s.Capabilities.Drop) != "[ALL]" {
		t.Errorf("the container is %+v", s)
	}
	if p := pod.SecurityContext; !*p.RunAsNonRoot || *p.RunAsUser != 65532 || *p.FSGroup != 65532 ||
		p.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
		t.Errorf("the pod is %+v", p)
	}
	account := c.account
	if pod.ServiceAccountName != account.Name || *pod.AutomountServiceAccountToken ||
		*account.AutomountServiceAccountToken {
		t.Errorf("the pod has the token of %s", pod.ServiceAccountName)
	}
	if c.namespace.Labels["pod-security.kubernetes.io/enforce"] != "restricted" {
		t.Errorf("the namespace has %v", c.namespace.Labels)
	}
	if relay.Resources.Limits.Memory().IsZero() || relay.Resources.Requests.Cpu().IsZero() {
		t.Errorf("the relay may take %v", relay.Resources)
	}
	if tag := regexp.MustCompile(`:\d+\.\d+\.\d+$`); !tag.MatchString(relay.Image) {
		t.Errorf("no version of %s is pinned", relay.Image)
	}
}

func TestWhatTheConfigReadsIsMountedAsFolders(t *testing.T) {
	t.Parallel()
	c := manifests(t)
	text := c.configs["kuairelay"].Data["config.yaml"]
	config := parse(t, text)
	relay := container(t, c)
	mounted := map[string]string{}
	for _, m := range relay.VolumeMounts {
		if m.SubPath != "" {
			t.Errorf("%s: a change of a subPath is not seen", m.Name)
		}
		mounted[m.MountPath] = m.Name
		if m.ReadOnly == under(m.MountPath, config.Spool.Dir) {
			t.Errorf("%s is read only: %t", m.MountPath, m.ReadOnly)
		}
	}
	if len(relay.Env)+len(relay.EnvFrom) != 0 || strings.Contains(text, "${") {
		t.Error("a variable of the environment cannot be changed while the relay runs")
	}

	volumes := map[string]*corev1.ProjectedVolumeSource{}
	for _, v := range c.relay.Spec.Template.Spec.Volumes {
		volumes[v.Name] = v.Projected
	}
	settings, tenants := volumes[mounted[mountedConfig]], volumes[mounted[config.TenantsDir]]
	if settings == nil || tenants == nil || settings.Sources[0].ConfigMap.Name != "kuairelay" {
		t.Fatalf("mounted are %v", mounted)
	}
	if of, secrets := tenants.Sources[0].ConfigMap, tenants.Sources[1].Secret; !*of.Optional || !*secrets.Optional ||
		c.configs[of.Name] != nil { // or it would be emptied each time that the manifests are applied
		t.Errorf("tenants are %+v", tenants.Sources)
	}
	var paths []string
	made := known(t)
	for _, item := range settings.Sources[1].Secret.Items {
		paths = append(paths, item.Path)
		if !slices.Contains(made, item.Key) {
			t.Errorf("nobody makes the secret %s", item.Key)
		}
	}
	slices.Sort(paths)
	if want := secretsOf(text); !slices.Equal(paths, want) {
		t.Errorf("the config reads %v, and mounted are %v", want, paths)
	}
}

func TestTheSpoolIsOnADiskOfTheReplicaWithRoom(t *testing.T) {
	t.Parallel()
	c := manifests(t)
	config := parse(t, c.configs["kuairelay"].Data["config.yaml"])
	claim := c.relay.Spec.VolumeClaimTemplates[0]
	found := slices.ContainsFunc(container(t, c).VolumeMounts, func(m corev1.VolumeMount) bool {
		return m.Name == claim.Name && m.MountPath == config.Spool.Dir
	})
	if size := claim.Spec.Resources.Requests.Storage(); !found || config.Spool.MaxBytes != "1GiB" || size.Value() < 3<<29 {
		t.Errorf("the spool of %s is in %s, on a disk of %v", config.Spool.MaxBytes, config.Spool.Dir, size)
	}
}

func TestThePrivatePortIsForPrometheusOnly(t *testing.T) {
	t.Parallel()
	c := manifests(t)
	for _, rule := range c.policy.Spec.Ingress {
		from := rule.From[0].NamespaceSelector.MatchLabels["kubernetes.io/metadata.name"]
		want := map[string]string{"ingress-nginx": "public", "monitoring": "private"}[from]
		if len(rule.From) != 1 || len(rule.Ports) != 1 || rule.Ports[0].Port.StrVal != want {
			t.Errorf("%s reaches %+v", from, rule.Ports)
		}
	}
	if len(c.policy.Spec.PolicyTypes) != 2 {
		t.Errorf("the policy is of %v", c.policy.Spec.PolicyTypes)
	}
	paths := map[string]bool{} // whether it may be sent twice
	for _, i := range c.ingresses {
		retries := i.Annotations["nginx.ingress.kubernetes.io/proxy-next-upstream"]
		for _, p := range i.Spec.Rules[0].HTTP.Paths {
			paths[p.Path] = strings.Contains(retries, "non_idempotent")
		}
	}
	want := map[string]bool{"/callback/": true, "/api": true, "/v1/subscriptions": true, "/v1/": false, "/console/": false}
	if fmt.Sprint(paths) != fmt.Sprint(want) {
		t.Errorf("from outside are reached %v, want %v", paths, want)
	}
	if _, err := os.Stat(files + "kubernetes/secret.yaml"); err == nil {
		t.Error("a manifest of a Secret is applied with what is in it: the page makes the Secret")
	}
}
