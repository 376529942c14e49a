package peer

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/fettleops/fettle/internal/db/dbtest"
)

// RT is a running Request Tracker with REST 2 at URL + "/REST/2.0". Token and
// User with Password are two ways to be the same administrator.
type RT struct {
	URL      string
	Token    string // for "Authorization: token ..."
	User     string
	Password string
	KeyField string // the custom field that holds the external reference
}

// RTConfig is what a test may choose about its Request Tracker.
type RTConfig struct {
	// KeyField names the free-form custom field of the queue General that
	// holds our reference. Defaults to FettleKey.
	KeyField string
	// InitialData is more Perl for Request Tracker's initialdata: users, rights
	// (@Users, @ACL), and what is added to the fields and queues above
	// (push @CustomFields, ...; push @Queues, ...). It is part of the choice.
	InitialData string
	// SiteConfig is more Perl for its configuration: lifecycles.
	SiteConfig string
}

// more is the configuration beyond ours; Perl wants it to end true.
func (c RTConfig) more() string {
	if c.SiteConfig == "" {
		return ""
	}
	return c.SiteConfig + "\n1;\n"
}

const (
	rtPackage = "request-tracker5 rt5-db-sqlite starman"
	rtShare   = "/usr/share/request-tracker5"
)

// RequestTracker starts a private Request Tracker on SQLite for the length of
// the test, as RequestTrackerWith does with nothing chosen.
func RequestTracker(t testing.TB) *RT {
	t.Helper()
	return RequestTrackerWith(t, RTConfig{})
}

// RequestTrackerWith starts a private Request Tracker on a database of its own.
// It has the queue General with the custom fields KeyField (free text) and
// Severity (select one of Low and High), and the queue Changes with the
// approvals lifecycle. It sends no mail, and does not write any either: that is
// two thirds of what it does for a new ticket or note. Passwords are hashed
// cheaply: as shipped, each call by name and password costs it 0.3 s of
// processor time. A start takes some three seconds and 225 MB for each of two
// workers, so callers ask Long first. Initialising the database takes as long
// again; that is done once for each version and choice, in the user's cache folder.
func RequestTrackerWith(t testing.TB, c RTConfig) *RT {
	t.Helper()
	setup := program(t, "rt-setup-database", rtPackage)
	starman := program(t, "starman", rtPackage)
	perl := program(t, "perl", "perl")
	if c.KeyField == "" {
		c.KeyField = "FettleKey"
	}
	if !regexp.MustCompile(`^\w+$`).MatchString(c.KeyField) {
		t.Fatalf("peer: RTConfig.KeyField %q: use letters, digits and underscore", c.KeyField)
	}
	master, err := rtMaster(setup, perl, c)
	if err != nil {
		t.Fatal(err)
	}
	token, err := os.ReadFile(filepath.Join(master, "token"))
	if err != nil {
		t.Fatal(err)
	}
	db, err := os.ReadFile(filepath.Join(master, "rtdb"))
	if err != nil {
		t.Fatal(err)
	}
	dir := dbtest.Dir(t)
	write(t, filepath.Join(dir, "rtdb"), string(db))
	for _, d := range []string{"mason", "session"} { // it makes neither, and its own are for www-data alone
		if err := os.Mkdir(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	url := serve(t, "request tracker", "/NoAuth/images/favicon.png", func(port int) *exec.Cmd {
		write(t, filepath.Join(dir, "RT_SiteConfig.pm"), rtSiteConfig(dir, port)+c.more())
		cmd := exec.Command(starman, "--listen", loopback(port), "--workers", "2", rtShare+"/libexec/rt-server")
		cmd.Env = rtEnv(dir)
		return cmd
	})
	rt := &RT{URL: url, Token: string(token), User: "root", Password: "password", KeyField: c.KeyField}
	if err := rt.answers(t); err != nil {
		t.Fatal(err)
	}
	return rt
}

// answers makes sure of the API and its credential: the first call compiles
// REST 2, which would otherwise eat into the caller's deadlines.
func (rt *RT) answers(t testing.TB) error {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, rt.URL+"/REST/2.0/rt", nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "token "+rt.Token)
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("peer: request tracker: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("peer: request tracker: its own token is answered with %s", resp.Status)
	}
	return nil
}

// rtMaster returns the folder of an initialised database and its token, making
// it when this version and choice were never used before. Two test binaries may
// do so at once: the folder appears whole, by a rename, and the second is thrown
// away.
func rtMaster(setup, perl string, c RTConfig) (dir string, err error) {
	data := rtInitialData(c)
	version, err := os.ReadFile(rtShare + "/lib/RT/Generated.pm")
	if err != nil {
		return "", fmt.Errorf("peer: request tracker: %w", err)
	}
	key := sha256.Sum256([]byte(string(version) + data + rtSiteConfig("", 0) + c.more() + rtTokenScript))
	cache, err := os.UserCacheDir()
	if err != nil { // no home folder, as under some service managers
		cache = os.TempDir()
	}
	parent := filepath.Join(cache, "fettle-test-peers")
	dir = filepath.Join(parent, "rt-"+hex.EncodeToString(key[:8]))
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return "", fmt.Errorf("peer: request tracker: %w", err)
	}
	tmp, err := os.MkdirTemp(parent, "making-")
	if err != nil {
		return "", fmt.Errorf("peer: request tracker: %w", err)
	}
	defer os.RemoveAll(tmp)
	if err := rtInitialise(tmp, setup, perl, data, c.more()); err != nil {
		return "", err
	}
	if err := os.Rename(tmp, dir); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("peer: request tracker: %w", err)
	}
	return dir, nil
}

func rtInitialise(dir, setup, perl, data, more string) error {
	for name, text := range map[string]string{"RT_SiteConfig.pm": rtSiteConfig(dir, 0) + more, "initialdata": data} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return fmt.Errorf("peer: request tracker: %w", err)
		}
	}
	var token []byte
	for _, args := range [][]string{
		{setup, "--action", "init", "--skip-create", "--dba", ""},
		{setup, "--action", "insert", "--datafile", filepath.Join(dir, "initialdata")},
		{perl, "-I" + rtShare + "/lib", "-e", rtTokenScript},
	} {
		var stderr tail
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Env, cmd.Dir, cmd.Stderr = rtEnv(dir), dir, &stderr
		out, err := cmd.Output()
		if err != nil {
			return fmt.Errorf("peer: %s: %w; its output:\n%s%s", strings.Join(args[:2], " "), err, out, stderr.String())
		}
		token = out
	}
	if len(token) == 0 {
		return errors.New("peer: request tracker: made no token")
	}
	return os.WriteFile(filepath.Join(dir, "token"), token, 0o600)
}

// rtEnv points Request Tracker at dir and away from /etc.
func rtEnv(dir string) []string {
	return append(os.Environ(), "RT_SITE_CONFIG="+filepath.Join(dir, "RT_SiteConfig.pm"),
		"RT_SITE_CONFIG_DIR="+filepath.Join(dir, "none"), "TMPDIR="+dir)
}

func rtSiteConfig(dir string, port int) string {
	return fmt.Sprintf(`Set($rtname, 'fettle.test');
Set($Organization, 'fettle.test');
Set($Timezone, 'UTC');
Set($WebDomain, '127.0.0.1');
Set($WebPort, %[2]d);
Set($WebPath, '');
Set($WebBaseURL, 'http://127.0.0.1:%[2]d');
Set($DatabaseType, 'SQLite');
Set($DatabaseName, '%[1]s/rtdb');
Set($DatabaseHost, '');
Set($DatabasePort, '');
Set($DatabaseUser, '');
Set($DatabasePassword, '');
Set($MailCommand, 'testfile');
Set($LogToSyslog, undef);
Set($LogToSTDERR, 'warning');
Set($BcryptCost, 4);
$RT::MasonDataDir = '%[1]s/mason';
$RT::MasonSessionDir = '%[1]s/session';
1;
`, dir, port)
}

func rtInitialData(c RTConfig) string {
	return fmt.Sprintf(`@CustomFields = (
  { Name => '%s', Type => 'FreeformSingle', LookupType => 'RT::Queue-RT::Ticket', ApplyTo => ['General'] },
  { Name => 'Severity', Type => 'SelectSingle', LookupType => 'RT::Queue-RT::Ticket', ApplyTo => ['General'],
    Values => [ { Name => 'Low' }, { Name => 'High' } ] },
);
@Queues = ( { Name => 'Changes', Description => 'change requests', Lifecycle => 'approvals' } );
@Final = (sub {
  my $scrips = RT::Scrips->new(RT->SystemUser);
  $scrips->UnLimit;
  while (my $scrip = $scrips->Next) {
    $scrip->SetDisabled(1) if $scrip->ActionObj->ExecModule =~ /^(Autoreply|Notify)/;
  }
});
%s
1;
`, c.KeyField, c.InitialData)
}

const rtTokenScript = `use RT; RT::LoadConfig(); RT::Init();
my $u = RT::User->new(RT->SystemUser); $u->Load("root");
my ($ok, $message, $token) = RT::AuthToken->new(RT->SystemUser)->Create(Owner => $u->Id, Description => "tests");
die $message unless $ok;
print $token;`
