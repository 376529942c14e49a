package config

import (
	"time"

	"github.com/fettleops/fettle/internal/secret"
	"github.com/fettleops/fettle/internal/unit"
)

// Detect is the section detect.
type Detect struct {
	// The machine Fettle runs on, as a source of metrics.
	Host Host `yaml:"host"`
	// Threshold rules. One with the name of a shipped rule replaces it. Default: the shipped rules.
	Rules []Rule `yaml:"rules"`
	// Which series are watched for anomalies. Default: a group for each ready set, named like it.
	Groups []Group `yaml:"groups"`
	// How much of the samples that came in is kept for a replay; a full log makes senders wait. Default: 4GiB.
	LogMaxBytes Size `yaml:"log_max_bytes"`
	// How many models stay in memory; those used least recently wait on disk. Default: 10000.
	MaxModels int `yaml:"max_models"`
	// How long a model may be ahead of its snapshot, which is what a restart replays. Default: 10m.
	CheckpointInterval Duration `yaml:"checkpoint_interval"`
	// How long records that no model needs stay in the sample log, so that what a sender repeats is known again; less while the log is half full. Default: 5m.
	LogKeep Duration `yaml:"log_keep"`
	// How long at most an incident, a change or a maintenance window keeps models from learning. Default: 24h.
	HoldAtMost Duration `yaml:"hold_at_most"`
}

// Defaults watches what every ready set selects, so that a sender needs only be
// pointed here, and sets the limits.
func (d *Detect) Defaults() {
	d.LogMaxBytes, d.MaxModels = 4<<30, 10_000
	d.CheckpointInterval, d.LogKeep, d.HoldAtMost = unit.MustDuration("10m"), unit.MustDuration("5m"), unit.MustDuration("24h")
	for _, set := range []string{"node_exporter", "otel_hostmetrics", "cloudwatch_ec2", "host"} {
		g := Group{Name: set, Features: Features{{Set: set}}}
		g.Defaults()
		d.Groups = append(d.Groups, g)
	}
}

// Host is the section detect.host.
type Host struct {
	// How often CPU, memory, disk and network are sampled. Default: 10s.
	Every Duration `yaml:"every"`
	// Whether they are sampled at all. Default: true.
	Enabled bool `yaml:"enabled"`
}

// Defaults turns sampling on.
func (h *Host) Defaults() { h.Every, h.Enabled = unit.MustDuration("10s"), true }

// Rule is an entry of detect.rules.
type Rule struct {
	// Name, unique.
	Name string `yaml:"name,required"`
	// Whether the rule is evaluated; false switches off a shipped rule of this name. Default: true.
	Enabled bool `yaml:"enabled"`
	// CEL over the latest samples, for example 'cpu_utilization > 0.80'. Needed unless enabled is false.
	When string `yaml:"when"`
	// How long it must hold before the alert fires. Default: 0s, at once.
	For Duration `yaml:"for"`
	// CEL that must hold before the alert resolves (hysteresis). Default: the opposite of when.
	Clear string `yaml:"clear"`
	// Severity of the alert. Default: high.
	Severity string `yaml:"severity" enum:"critical,high,medium,low,info"`
	// Labels added to the alert. Default: none.
	Labels map[string]string `yaml:"labels"`
	// Title of the alert, for people. Default: the name.
	Title string `yaml:"title"`
}

// Defaults enables the rule and sets its severity.
func (r *Rule) Defaults() { r.Enabled, r.Severity = true, "high" }

// Correlate is the section correlate.
type Correlate struct {
	// Labels whose values make alerts one incident; rule, resource and integration name the alert's own fields. Default: rule, resource.
	GroupBy []string `yaml:"group_by"`
	// How long after its last alert an incident takes another one. Default: 10m.
	Within Duration `yaml:"within"`
	// How long after it was resolved an incident is reopened rather than a new one opened. Default: 24h.
	ReopenWithin Duration `yaml:"reopen_within"`
	// How long an alert stays open whose sender never resolves it. Default: 24h.
	StatelessAfter Duration `yaml:"stateless_after"`
	// When an alert that comes and goes counts as flapping.
	Flap Flap `yaml:"flap"`
}

// Defaults sets grouping and spans.
func (c *Correlate) Defaults() {
	c.GroupBy = []string{"rule", "resource"}
	c.Within, c.ReopenWithin, c.StatelessAfter = unit.MustDuration("10m"), unit.MustDuration("24h"), unit.MustDuration("24h")
}

// Flap is the section correlate.flap.
type Flap struct {
	// How many changes of state make an alert flap; 0 switches damping off. Default: 4.
	Changes int `yaml:"changes"`
	// The span in which they are counted. Default: 30m.
	Within Duration `yaml:"within"`
}

// Defaults sets four changes in half an hour.
func (f *Flap) Defaults() { f.Changes, f.Within = 4, unit.MustDuration("30m") }

// Window is an entry of windows.
type Window struct {
	// Name, unique over windows and freezes.
	Name string `yaml:"name,required"`
	// When it opens: cron(...) with six or seven fields as in AWS, five fields of plain cron, rate(...), at(...) or always. Required unless rrule or ical is given.
	Schedule string `yaml:"schedule"`
	// Days that what cron names is put off, 0 to 6, as in two days after the second Tuesday. Default: 0.
	OffsetDays int `yaml:"offset_days"`
	// Recurrence rule of RFC 5545 in place of the schedule, for example FREQ=WEEKLY;BYDAY=SU. Default: none.
	RRule string `yaml:"rrule"`
	// Local date and time the rrule begins. Required with rrule.
	Start Civil `yaml:"start"`
	// iCalendar event in place of the schedule, or its lines DTSTART, RRULE, RDATE, EXDATE and DURATION. Default: none.
	ICal string `yaml:"ical"`
	// How long it stays open, in elapsed time. Required unless the schedule is always or ical says it.
	Duration Duration `yaml:"duration"`
	// How long before its end nothing starts any more. Default: 0s.
	Cutoff Duration `yaml:"cutoff"`
	// IANA time zone of the schedule.
	TimeZone Zone `yaml:"time_zone,required"`
	// CEL over change and resource: what the window is for. Default: everything.
	Applies string `yaml:"applies"`
	// Local date and time before which it does not open. Default: none.
	From Civil `yaml:"from"`
	// Local date and time from which on it does not open. Default: none.
	To Civil `yaml:"to"`
	// Whether it is for maintenance: alerts of what it applies to are muted meanwhile, and it lets no change run. Default: false.
	Mute bool `yaml:"mute"`
}

// Freeze is an entry of freezes.
type Freeze struct {
	// Name, unique over windows and freezes.
	Name string `yaml:"name,required"`
	// Local date and time it begins. Required unless it recurs.
	From Civil `yaml:"from"`
	// Local date and time it ends. Required unless it recurs.
	To Civil `yaml:"to"`
	// When it begins, for one that recurs: as in windows. Default: none.
	Schedule string `yaml:"schedule"`
	// Recurrence rule in place of the schedule: as in windows. Default: none.
	RRule string `yaml:"rrule"`
	// Local date and time the rrule begins. Required with rrule.
	Start Civil `yaml:"start"`
	// iCalendar event in place of the schedule: as in windows. Default: none.
	ICal string `yaml:"ical"`
	// How long each lasts, for one that recurs. Default: what ical says.
	Duration Duration `yaml:"duration"`
	// IANA time zone of all of these.
	TimeZone Zone `yaml:"time_zone,required"`
	// CEL over change and resource: what is frozen. Default: everything.
	Applies string `yaml:"applies"`
	// Roles that may override it, with a reason and a second person. Default: none.
	BreakGlass []string `yaml:"break_glass"`
}

// Policies is the section policies.
type Policies struct {
	// Who approves what; the first match wins, and what matches none is never approved automatically. Default: none.
	Approval []Approval `yaml:"approval"`
	// Risk from which at least two different persons must approve, whatever the rule says and also where it approves automatically; unknown risk is 1, and above 1 means never. Default: 0.7.
	FourEyesFrom float64 `yaml:"four_eyes_from"`
	// Role of cloud operations, whose holders may give a change its window in a ticket. Default: change-manager.
	WindowRole string `yaml:"window_role"`
	// How much may happen without a person.
	Limits Limits `yaml:"limits"`
	// How many changes may run at the same time; a resource has one at most.
	Concurrency Concurrency `yaml:"concurrency"`
}

// Defaults asks for four eyes at high risk.
func (p *Policies) Defaults() { p.FourEyesFrom, p.WindowRole = 0.7, "change-manager" }

// Concurrency is the section policies.concurrency.
type Concurrency struct {
	// Of all resources together. Default: no limit.
	Total int `yaml:"total"`
	// Of the resources of one service. Default: no limit.
	PerService int `yaml:"per_service"`
	// Of the resources in one account. Default: no limit.
	PerAccount int `yaml:"per_account"`
	// Label that names the service of a resource; without it a resource does not count. Default: service.
	ServiceLabel string `yaml:"service_label"`
	// Label that names the account of a resource; without it a resource does not count. Default: account.
	AccountLabel string `yaml:"account_label"`
}

// Defaults names the labels.
func (c *Concurrency) Defaults() { c.ServiceLabel, c.AccountLabel = "service", "account" }

// Approval is an entry of policies.approval.
type Approval struct {
	// CEL over change and resource, for example change.risk and change.saving_monthly.
	Match string `yaml:"match,required"`
	// Write automatically to ask nobody. Default: the approvers are asked.
	Approve string `yaml:"approve" enum:"automatically"`
	// Who is asked. Needed unless approve is automatically.
	Approvers *Approvers `yaml:"approvers"`
	// Who is asked after them, in this order. Default: nobody.
	Then []Approvers `yaml:"then"`
	// The only platform in which they may approve, such as the one that holds the change requests; desk is
	// Fettle itself: its pages, API and command line. Who denies may do so anywhere. Default: any.
	In string `yaml:"in"`
	// How long an answer is waited for; after that the change is cancelled as expired. Default: 72h.
	Expires Duration `yaml:"expires"`
}

// Defaults sets three days to answer.
func (a *Approval) Defaults() { a.Expires = unit.MustDuration("72h") }

// Approvers is the section approvers of an approval.
type Approvers struct {
	// Role whose holders may approve; owner means the application owners of the change's team, or a change manager where it has none. Needed unless people are named.
	Role string `yaml:"role"`
	// Names of the persons who may approve, instead of a role. Default: whoever holds the role.
	People []string `yaml:"people"`
	// How many different persons must. Default: 1.
	Count int `yaml:"count"`
}

// Defaults asks one person.
func (a *Approvers) Defaults() { a.Count = 1 }

// Limits is the section policies.limits.
type Limits struct {
	// How many changes may start without a person's approval. Default: 10/h.
	AutomatedChanges Rate `yaml:"automated_changes"`
	// Largest share of the known resources that such a change may touch. Default: 5%.
	BlastRadius Percent `yaml:"blast_radius"`
}

// Defaults sets both limits.
func (l *Limits) Defaults() { l.AutomatedChanges, l.BlastRadius = Rate{Count: 10, Per: time.Hour}, 5 }

// Executor is an entry of executors.
type Executor struct {
	// Name, unique.
	Name string `yaml:"name,required"`
	// Driver, for example command.
	Tool string `yaml:"tool,required"`
	// All other keys belong to the tool.
	Options Raw `yaml:",rest"`
}

// Runbook is an entry of runbooks.
type Runbook struct {
	// Name, unique.
	Name string `yaml:"name,required"`
	// CEL over alert and incident: when a change is raised.
	Trigger string `yaml:"trigger,required"`
	// Window in which it runs. Default: any window that applies.
	Window string `yaml:"window"`
	// How its success is checked.
	Verify Verify `yaml:"verify"`
	// Risk of its changes from 0 to 1, for policies. Default: unknown, which counts as 1.
	Risk *float64 `yaml:"risk"`
	// What is done, in this order.
	Steps []Step `yaml:"steps,required"`
}

// Verify is the section verify of a runbook.
type Verify struct {
	// How long the cause may take to go away. Default: 10m.
	Within Duration `yaml:"within"`
}

// Defaults sets ten minutes.
func (v *Verify) Defaults() { v.Within = unit.MustDuration("10m") }

// Step is an entry of a runbook's steps.
type Step struct {
	// CEL over value, alert and resource; value is measured again when the plan is made. Default: always.
	When string `yaml:"when"`
	// Executor that carries it out.
	Executor string `yaml:"executor,required"`
	// What it does, in the executor's words.
	Action string `yaml:"action,required"`
	// Arguments, passed one by one and never through a shell. Default: none.
	Args []string `yaml:"args"`
}

// Recommendations is the section recommendations.
type Recommendations struct {
	// Tried in order; the first that matches makes the change. Default: none, recommendations are listed only.
	Rules []RecommendationRule `yaml:"rules"`
	// How long before its window a change is not given up any more for a later recommendation. Default: 5m.
	CancellationThreshold Duration `yaml:"cancellation_threshold"`
	// How long after its change the same recommendation is old news, and how long one whose change expired rests. Default: 7d.
	Rest Duration `yaml:"rest"`
}

// Defaults sets both spans.
func (r *Recommendations) Defaults() {
	r.CancellationThreshold, r.Rest = unit.MustDuration("5m"), unit.MustDuration("7d")
}

// RecommendationRule is an entry of recommendations.rules.
type RecommendationRule struct {
	// Name, unique.
	Name string `yaml:"name,required"`
	// CEL over recommendation and resource.
	Match string `yaml:"match,required"`
	// Executor that carries it out.
	Executor string `yaml:"executor,required"`
	// What it does, in the executor's words.
	Action string `yaml:"action,required"`
	// Arguments, passed one by one; ${resource}, ${recommended}, ${stack} and the like stand for what the recommendation says. Default: none.
	Args []string `yaml:"args"`
	// Key of the parameter that carries the value, with the same words; ${icco_key} is the one ICCO uses. Default: none.
	Parameter string `yaml:"parameter"`
	// Type of the change. Default: normal.
	Type string `yaml:"type" enum:"normal,standard"`
	// How long verification may take. Default: 10m.
	VerifyWithin Duration `yaml:"verify_within"`
	// Team that owns the change. Default: none.
	Team string `yaml:"team"`
	// Risk of its changes from 0 to 1, for policies. Default: unknown, which counts as 1.
	Risk *float64 `yaml:"risk"`
}

// Defaults asks for approval.
func (r *RecommendationRule) Defaults() {
	r.Type, r.VerifyWithin = "normal", unit.MustDuration("10m")
}

// Parameters is the section parameters.
type Parameters struct {
	// Accounts whose values stand in the AWS Parameter Store. Default: none, every value stands in Fettle's own database.
	Accounts []ParameterAccount `yaml:"accounts"`
}

// ParameterAccount is an entry of parameters.accounts.
type ParameterAccount struct {
	// The twelve digits of the account, in quotes.
	Account string `yaml:"account,required"`
	// AWS region. Default: every region of the account that has no entry of its own.
	Region string `yaml:"region"`
	// Role to assume, an ARN. Default: none.
	Role string `yaml:"role"`
	// External id that the role asks for, as a secret reference. Default: none.
	ExternalID secret.Ref `yaml:"external_id"`
	// Another address of the Parameter Store, such as that of a test double. Default: the public one.
	Endpoint string `yaml:"endpoint"`
}

// Price is an entry of prices.
type Price struct {
	// Service whose type it is.
	Service string `yaml:"service" enum:"ec2,rds,asg"`
	// Instance type or class, for example m5.large.
	Type string `yaml:"type,required"`
	// Region it is the price of. Default: every region without a price of its own.
	Region string `yaml:"region"`
	// Price of one hour.
	PerHour float64 `yaml:"per_hour,required"`
	// Its currency, ISO 4217.
	Currency string `yaml:"currency,required"`
}

// Defaults takes it for the price of a virtual machine.
func (p *Price) Defaults() { p.Service = "ec2" }

// Verification is the section verify.
type Verification struct {
	// Which moves of which metrics are for the worse; the first that matches decides. Default: by the words of the metric's name.
	Metrics []VerifyMetric `yaml:"metrics"`
	// Health checks, asked from the run on until the verdict. Default: none.
	Checks []VerifyCheck `yaml:"checks"`
}

// VerifyMetric is an entry of verify.metrics.
type VerifyMetric struct {
	// Name of the metric, in which * stands for any characters but a slash. Default: any.
	Name string `yaml:"name"`
	// CEL over metric (name, unit, labels), change and resource. Default: any.
	Match string `yaml:"match"`
	// Which move is for the worse; none: the metric is not judged.
	Worse string `yaml:"worse,required" enum:"up,down,both,none"`
}

// VerifyCheck is an entry of verify.checks. It asks exactly one of http, metric and alarm.
type VerifyCheck struct {
	// Name, unique.
	Name string `yaml:"name,required"`
	// CEL over change and resource: what it is for. Default: every change.
	Match string `yaml:"match"`
	// How many times in a row it must fail before the verdict is worse. Default: 3.
	Times int `yaml:"times"`
	// What no answer counts as: failing, or inconclusive at the end. Default: inconclusive.
	NoAnswer string `yaml:"no_answer" enum:"failing,inconclusive"`
	// An address that must answer. Default: none.
	HTTP *VerifyHTTP `yaml:"http"`
	// CEL over the newest values of the resource's metrics that must hold, for example 'error_ratio < 0.01'. Default: none.
	Metric string `yaml:"metric"`
	// A CloudWatch alarm that must be OK. Default: none.
	Alarm *VerifyAlarm `yaml:"alarm"`
}

// Defaults sets three failures in a row.
func (c *VerifyCheck) Defaults() { c.Times, c.NoAnswer = 3, "inconclusive" }

// VerifyHTTP is the section http of a check.
type VerifyHTTP struct {
	// Address that is asked with GET.
	URL string `yaml:"url,required"`
	// Expected status. Default: any from 200 to 299.
	ExpectStatus int `yaml:"expect_status"`
	// Text that the answer must contain. Default: any.
	ExpectBody string `yaml:"expect_body"`
	// How long an answer is waited for, up to 30s. Default: 5s.
	Timeout Duration `yaml:"timeout"`
	// Networks inside that may be asked, such as 10.0.0.0/8; this machine and private networks are refused else. Default: none.
	Allow []string `yaml:"allow"`
}

// Defaults waits five seconds.
func (h *VerifyHTTP) Defaults() { h.Timeout = unit.MustDuration("5s") }

// VerifyAlarm is the section alarm of a check.
type VerifyAlarm struct {
	// Name of the alarm, metric or composite.
	Name string `yaml:"name,required"`
	// AWS region. Default: as every AWS tool finds it.
	Region string `yaml:"region"`
	// Role to assume, an ARN. Default: none.
	Role string `yaml:"role"`
	// External id that the role asks for, as a secret reference. Default: none.
	ExternalID secret.Ref `yaml:"external_id"`
	// Another address of CloudWatch, such as that of a test double. Default: the public one.
	Endpoint string `yaml:"endpoint"`
}
