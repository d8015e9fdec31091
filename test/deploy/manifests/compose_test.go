package manifests

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"sigs.k8s.io/yaml"
)

// project reads the Compose file as docker compose does: with its schema, its references and its variables.
func project(t *testing.T) *types.Project {
	t.Helper()
	options, err := cli.NewProjectOptions([]string{files + "compose/compose.yaml"})
	if err != nil {
		t.Fatal(err)
	}
	p, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// relays are the names of the services that are replicas.
var relays = []string{"relay-1", "relay-2"}

func TestComposeTakesItsFile(t *testing.T) {
	t.Parallel()
	p := project(t)
	if names := p.ServiceNames(); !slices.Equal(names, []string{"grafana", "prometheus", "redis", "relay-1", "relay-2"}) {
		t.Errorf("the services are %v", names)
	}
	pinned := regexp.MustCompile(`^[\w./-]+:v?\d+\.\d+\.\d+$`)
	for name, s := range p.Services {
		if !pinned.MatchString(s.Image) && s.Build == nil {
			t.Errorf("%s: no version of %s is pinned", name, s.Image)
		}
		if s.Restart != "always" || s.MemLimit == 0 {
			t.Errorf("%s restarts %q and may take %d bytes", name, s.Restart, s.MemLimit)
		}
		if s.HealthCheck == nil && s.Build == nil { // the image of the relay has one
			t.Errorf("%s: nobody sees whether it is well", name)
		}
		if !slices.Contains(s.SecurityOpt, "no-new-privileges:true") {
			t.Errorf("%s may get new privileges", name)
		}
		for _, port := range s.Ports {
			if port.HostIP != "127.0.0.1" {
				t.Errorf("%s: port %s is published at %q", name, port.Published, port.HostIP)
			}
		}
		for _, v := range s.Volumes {
			if _, err := os.Stat(v.Source); v.Type == types.VolumeTypeBind && err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestTheReplicasOfComposeAreWhatTheirConfigAndTheProxiesSay(t *testing.T) {
	t.Parallel()
	p := project(t)
	content := text(t, files+"compose/kuairelay/config.yaml")
	c := parse(t, content)
	public, private := port(t, c.Server.Listen), port(t, c.Admin.Listen)
	nginx := text(t, files+"nginx/kuairelay.conf")
	if health := `HEALTHCHECK .* CMD \["/kuairelay", "healthcheck"\]`; public != "8080" ||
		!regexp.MustCompile(health).MatchString(text(t, root+"/Dockerfile")) {
		t.Errorf("the image asks 8080 for its health, and the relay listens on %s", public)
	}

	for i, name := range relays {
		s := p.Services[name]
		replica := strconv.Itoa(i + 1)
		want := []string{"127.0.0.1:800" + replica + ">" + public, "127.0.0.1:808" + replica + ">" + private}
		var ports []string
		for _, port := range s.Ports {
			ports = append(ports, fmt.Sprintf("%s:%s>%d", port.HostIP, port.Published, port.Target))
		}
		if !slices.Equal(ports, want) || !strings.Contains(nginx, "server 127.0.0.1:800"+replica+" ") {
			t.Errorf("%s publishes %v, want %v, which the proxies ask", name, ports, want)
		}
		if !slices.Contains(c.Console.Hosts, name) {
			t.Errorf("Prometheus may not ask for %s, but for %v", name, c.Console.Hosts)
		}
		enough(t, time.Duration(*s.StopGracePeriod))
		if s.DependsOn["redis"].Condition != types.ServiceConditionHealthy {
			t.Errorf("%s does not wait for Redis", name)
		}
		if !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) {
			t.Errorf("%s may write to its image, or has capabilities", name)
		}
		if v := mount(&s, c.Spool.Dir); v.Type != types.VolumeTypeVolume || v.ReadOnly {
			t.Errorf("%s: the spool is on %+v", name, v)
		}
		folder, err := filepath.Abs(files + "compose/kuairelay")
		if v := mount(&s, mountedConfig); err != nil || v.Source != folder || !v.ReadOnly {
			t.Errorf("%s: its config is on %+v", name, v)
		}
	}
}

// mount is what a service has at a path.
func mount(s *types.ServiceConfig, target string) types.ServiceVolumeConfig {
	for _, v := range s.Volumes {
		if v.Target == target {
			return v
		}
	}
	return types.ServiceVolumeConfig{}
}

func TestEverySecretOfComposeIsMadeAndUsed(t *testing.T) {
	t.Parallel()
	p := project(t)
	made := append(known(t), "grafana-password") // which docs/operations.md makes
	folder, err := filepath.Abs(files + "compose/secrets")
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range p.Secrets {
		if s.File != filepath.Join(folder, name) || !slices.Contains(made, name) {
			t.Errorf("the secret %s is in %s, and made are %v", name, s.File, made)
		}
	}

	used := map[string][]string{}
	for name, s := range p.Services {
		for _, secret := range s.Secrets {
			used[name] = append(used[name], "/run/secrets/"+secret.Source)
		}
		slices.Sort(used[name])
	}
	for _, name := range relays {
		if want := secretsOf(text(t, files+"compose/kuairelay/config.yaml")); !slices.Equal(used[name], want) {
			t.Errorf("%s has the secrets %v, and its config wants %v", name, used[name], want)
		}
	}
	if command := p.Services["redis"].Command; !slices.Contains(command, used["redis"][0]) {
		t.Errorf("Redis has %v, and runs %v", used["redis"], command)
	}
	grafana := p.Services["grafana"]
	if file := grafana.Environment["GF_SECURITY_ADMIN_PASSWORD__FILE"]; file == nil || *file != used["grafana"][0] {
		t.Errorf("Grafana has %v, and reads %v", used["grafana"], grafana.Environment)
	}
}

func TestRedisOfComposeIsReachedByTheReplicasOnly(t *testing.T) {
	t.Parallel()
	p := project(t)
	redis := p.Services["redis"]
	if len(redis.Ports) != 0 || !p.Networks["redis"].Internal || len(redis.Networks) != 1 {
		t.Errorf("Redis publishes %v, in %v", redis.Ports, redis.Networks)
	}
	for name, s := range p.Services {
		_, in := s.Networks["redis"]
		_, out := s.Networks["default"]
		if in != slices.Contains(append(relays, "redis"), name) || out == (name == "redis") {
			t.Errorf("%s is in the networks %v", name, s.Networks)
		}
	}
	if v := mount(&redis, "/data"); v.Type != types.VolumeTypeVolume {
		t.Errorf("what Redis keeps is on %+v", v)
	}
}

// Prometheus itself says whether it takes the file.
func TestPrometheusOfComposeScrapesEachReplica(t *testing.T) {
	t.Parallel()
	p := project(t)
	c := parse(t, text(t, files+"compose/kuairelay/config.yaml"))
	folder := t.TempDir()
	var conf string
	for _, v := range p.Services["prometheus"].Volumes {
		if v.Type != types.VolumeTypeBind {
			continue
		}
		if filepath.Dir(v.Target) != "/etc/prometheus" {
			t.Errorf("Prometheus does not look at %s", v.Target)
		}
		content := text(t, v.Source)
		if err := os.WriteFile(filepath.Join(folder, filepath.Base(v.Target)), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if filepath.Base(v.Target) == "prometheus.yml" {
			conf = content
		}
	}
	for _, name := range relays {
		if !strings.Contains(conf, `"`+name+c.Admin.Listen+`"`) {
			t.Errorf("%s%s is not scraped", name, c.Admin.Listen)
		}
	}
	if _, err := exec.LookPath("promtool"); err != nil {
		t.Skip("promtool is not installed (Debian: apt-get install prometheus)")
	}
	output, err := run(t, "promtool", "check", "config", folder+"/prometheus.yml")
	if err != nil || !strings.Contains(output, "rules found") {
		t.Errorf("%v: %s", err, output)
	}
}

// datasources and providers are the files of Grafana, as its page "Provision Grafana" has them.
type datasources struct {
	APIVersion  int `json:"apiVersion"`
	Datasources []struct {
		Name      string `json:"name"`
		UID       string `json:"uid"`
		Type      string `json:"type"`
		Access    string `json:"access"`
		URL       string `json:"url"`
		IsDefault bool   `json:"isDefault"`
	} `json:"datasources"`
}

type providers struct {
	APIVersion int `json:"apiVersion"`
	Providers  []struct {
		Name            string `json:"name"`
		Type            string `json:"type"`
		DisableDeletion bool   `json:"disableDeletion"`
		AllowUIUpdates  bool   `json:"allowUiUpdates"`
		Options         struct {
			Path string `json:"path"`
		} `json:"options"`
	} `json:"providers"`
}

func TestGrafanaOfComposeFindsPrometheusAndTheDashboard(t *testing.T) {
	t.Parallel()
	p := project(t)
	grafana := p.Services["grafana"]
	provisioned := func(kind, file string, into any) {
		t.Helper()
		v := mount(&grafana, "/etc/grafana/provisioning/"+kind)
		if err := yaml.UnmarshalStrict([]byte(text(t, filepath.Join(v.Source, file))), into); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}

	var sources datasources
	provisioned("datasources", "prometheus.yaml", &sources)
	if len(sources.Datasources) != 1 || sources.APIVersion != 1 {
		t.Fatalf("the sources are %+v", sources)
	}
	source := sources.Datasources[0]
	host, _, _ := strings.Cut(strings.TrimPrefix(source.URL, "http://"), ":")
	if _, ok := p.Services[host]; !ok || source.Type != "prometheus" || source.Access != "proxy" || !source.IsDefault {
		t.Errorf("the source is %+v", source)
	}

	var folders providers
	provisioned("dashboards", "kuairelay.yaml", &folders)
	if len(folders.Providers) != 1 || folders.APIVersion != 1 || folders.Providers[0].Type != "file" {
		t.Fatalf("the providers are %+v", folders)
	}
	dashboard := mount(&grafana, filepath.Join(folders.Providers[0].Options.Path, "kuairelay.json"))
	if want, err := filepath.Abs(root + "/docs/dashboard.json"); err != nil || dashboard.Source != want {
		t.Errorf("the dashboard is %+v", dashboard)
	}
}
