package autoscalingtest

import (
	"fmt"
	"strconv"
)

// Template is a launch template. Its versions count from 1.
type Template struct {
	Name     string
	Default  int
	Versions []*Version
}

// Version is one version of a launch template.
type Version struct {
	Type, Image, Description string

	token, asked string
}

// version resolves a number, $Latest or $Default; nil when there is none.
func (t *Template) version(s string) (int, *Version) {
	n, err := strconv.Atoi(s)
	switch {
	case s == "$Latest":
		n = len(t.Versions)
	case s == "$Default" || s == "":
		n = max(1, t.Default)
	case err != nil:
		return 0, nil
	}
	if n < 1 || n > len(t.Versions) {
		return 0, nil
	}
	return n, t.Versions[n-1]
}

func (a *Account) templateOf(f form) (string, *Template, *Fault) {
	id := f.get("LaunchTemplateId")
	if t := a.Templates[id]; t != nil {
		return id, t, nil
	}
	return id, nil, fault("InvalidLaunchTemplateId.NotFound", "The specified launch template, with template ID %s, does not exist.", id)
}

func show(id string, t *Template, n int, v *Version) m {
	return m{
		"launchTemplateId": id, "launchTemplateName": t.Name, "versionNumber": n, "versionDescription": v.Description, "defaultVersion": n == max(1, t.Default),
		"launchTemplateData": m{"instanceType": v.Type, "imageId": v.Image},
	}
}

func (a *Account) describeVersions(f form) (m, *Fault) {
	id, t, bad := a.templateOf(f)
	if bad != nil {
		return nil, bad
	}
	rows := []m{}
	for _, s := range f.list("LaunchTemplateVersion.") {
		n, v := t.version(s)
		if v == nil {
			return nil, fault("InvalidLaunchTemplateId.VersionNotFound", "Could not find launch template version %s of %s", s, id)
		}
		rows = append(rows, show(id, t, n, v))
	}
	if f.has("LaunchTemplateVersion.1") && f.has("MinVersion") {
		return nil, fault("InvalidParameterCombination", "LaunchTemplateVersion and MinVersion")
	}
	if !f.has("LaunchTemplateVersion.1") {
		for n := len(t.Versions); n >= f.number("MinVersion", 1); n-- {
			rows = append(rows, show(id, t, n, t.Versions[n-1]))
		}
	}
	return m{"launchTemplateVersionSet": rows}, nil
}

func (a *Account) createVersion(f form) (m, *Fault) {
	id, t, bad := a.templateOf(f)
	if bad != nil {
		return nil, bad
	}
	token, asked := f.get("ClientToken"), fmt.Sprint(f.get("SourceVersion"), f.get("LaunchTemplateData.InstanceType"), f.get("LaunchTemplateData.ImageId"))
	_, from := t.version(f.get("SourceVersion"))
	switch {
	case f.has("SourceVersion") && from == nil:
		return nil, fault("InvalidLaunchTemplateId.VersionNotFound", "Could not find launch template version %s of %s", f.get("SourceVersion"), id)
	case len(token) > 128:
		return nil, fault("InvalidParameterValue", "ClientToken is longer than 128 characters")
	case len(f.get("VersionDescription")) > 255:
		return nil, fault("InvalidParameterValue", "VersionDescription is longer than 255 characters")
	}
	for n, v := range t.Versions {
		switch {
		case token == "" || v.token != token:
		case v.asked != asked:
			return nil, fault("IdempotentParameterMismatch", "the token was used for another request")
		default:
			return m{"launchTemplateVersion": show(id, t, n+1, v)}, nil
		}
	}
	v := &Version{token: token, asked: asked}
	if f.has("SourceVersion") {
		v.Type, v.Image = from.Type, from.Image
	}
	if s := f.get("LaunchTemplateData.InstanceType"); s != "" {
		v.Type = s
	}
	if s := f.get("LaunchTemplateData.ImageId"); s != "" {
		v.Image = s
	}
	v.Description = f.get("VersionDescription")
	t.Versions = append(t.Versions, v)
	return m{"launchTemplateVersion": show(id, t, len(t.Versions), v)}, nil
}

func (a *Account) describeTypes(f form) (m, *Fault) {
	rows := []m{}
	for _, s := range f.list("InstanceType.") {
		if a.Types[s] == nil {
			return nil, fault("InvalidInstanceType", "The following supplied instance types do not exist: [%s]", s)
		}
		rows = append(rows, m{"instanceType": s, "processorInfo": m{"supportedArchitectures": a.Types[s]}})
	}
	return m{"instanceTypeSet": rows}, nil
}
