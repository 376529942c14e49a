package simulator

import (
	"slices"
	"strings"
)

// view is how a client wants records shown.
type view struct {
	server *Server
	def    *tableDef
	who    *caller
	// paths are the asked fields, dotted ones included; unknown ones are gone.
	paths []string
	// display is false, true or all.
	display string
	noLink  bool
	base    string
}

// newView reads sysparm_fields and its kin.
func (s *Server) newView(c *call, def *tableDef, who *caller) view {
	v := view{server: s, def: def, who: who, base: c.base, noLink: c.flag("sysparm_exclude_reference_link")}
	switch d := strings.ToLower(c.params.Get("sysparm_display_value")); d {
	case "true", "all":
		v.display = d
	default:
		v.display = "false"
	}
	asked := c.params.Get("sysparm_fields")
	if asked == "" {
		for _, f := range def.fields {
			v.add(f.name)
		}
		return v
	}
	for name := range strings.SplitSeq(asked, ",") {
		v.add(strings.TrimSpace(name))
	}
	return v
}

// add takes a path in if it leads somewhere and no ACL hides it.
func (v *view) add(path string) {
	if v.server.walk(v.def, path) == nil || slices.Contains(v.paths, path) {
		return
	}
	def := v.def
	parts := strings.Split(path, ".")
	for i, name := range parts {
		if slices.Contains(v.server.cfg.HiddenFields[def.name], name) && !v.who.may([]string{"admin"}) {
			return
		}
		if i < len(parts)-1 {
			def = v.server.schema[def.field(name).target]
		}
	}
	v.paths = append(v.paths, path)
}

// row shows one record. Every scalar is a string.
func (v *view) row(r Record) map[string]any {
	shown := make(map[string]any, len(v.paths))
	for _, path := range v.paths {
		shown[path] = v.cell(r, path)
	}
	return shown
}

func (v *view) cell(r Record, path string) any {
	f := v.server.walk(v.def, path)
	value := v.server.value(v.def, r, path)
	link := ""
	if f.kind == referenceField && value != "" && !v.noLink {
		link = v.base + "/api/now/table/" + f.target + "/" + value
	}
	if v.display == "false" {
		if link == "" {
			return value
		}
		return map[string]string{"link": link, "value": value}
	}
	text := v.text(r, path, f, value)
	cell := map[string]string{"display_value": text}
	if link != "" {
		cell["link"] = link
	}
	if v.display == "all" {
		cell["value"] = value
		return cell
	}
	if link == "" {
		return text
	}
	return cell
}

// text is what a person would see. Journals of other records are not shown.
func (v *view) text(r Record, path string, f *fieldDef, value string) string {
	s := v.server
	switch {
	case f.kind == journalField && path == f.name:
		return s.journalText(r, f, v.who)
	case value == "":
		return ""
	case f.kind == referenceField:
		if target := s.tables[f.target].get(value); target != nil {
			return target.values[s.schema[f.target].display]
		}
	case f.kind == timeField:
		return v.who.local(value)
	case f.choice:
		if c, known := s.choice(v.def.name, f.name, value, false); known && path == f.name {
			return c["label"]
		}
	}
	return value
}
