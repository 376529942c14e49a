package simulator

import "strconv"

// seedChoices fills sys_choice. State, hold reason and resolution code are
// facts 1.3; the labels with a number in front are the vendor's own examples.
func (s *Server) seedChoices() {
	type choice struct{ value, label string }
	lists := []struct {
		element string
		choices []choice
	}{
		{"state", []choice{{stateNew, "New"}, {stateInProgress, "In Progress"}, {stateOnHold, "On Hold"}, {stateResolved, "Resolved"}, {stateClosed, "Closed"}, {stateCanceled, "Canceled"}}},
		{"hold_reason", []choice{{"1", "Awaiting Caller"}, {"3", "Awaiting Problem"}, {"4", "Awaiting Vendor"}, {"5", "Awaiting Change"}}},
		{"impact", []choice{{"1", "1 - High"}, {"2", "2 - Medium"}, {"3", "3 - Low"}}},
		{"urgency", []choice{{"1", "1 - High"}, {"2", "2 - Medium"}, {"3", "3 - Low"}}},
		{"severity", []choice{{"1", "1 - High"}, {"2", "2 - Medium"}, {"3", "3 - Low"}}},
		{"priority", []choice{{"1", "1 - Critical"}, {"2", "2 - High"}, {"3", "3 - Moderate"}, {"4", "4 - Low"}, {"5", "5 - Planning"}}},
	}
	var codes []choice
	for _, code := range s.cfg.CloseCodes {
		codes = append(codes, choice{code, code})
	}
	lists = append(lists, struct {
		element string
		choices []choice
	}{"close_code", codes})
	lists = append(lists, struct {
		element string
		choices []choice
	}{"incident_state", lists[0].choices})
	ofIncidents := len(lists)
	var states []choice
	for _, l := range changeLabels {
		states = append(states, choice{l.value, l.label})
	}
	lists = append(lists, []struct {
		element string
		choices []choice
	}{
		{"state", states},
		{"type", []choice{{"normal", "Normal"}, {"standard", "Standard"}, {"emergency", "Emergency"}}},
		{"risk", []choice{{"1", "Very High"}, {"2", "High"}, {"3", "Moderate"}, {"4", "Low"}}},
		{"impact", []choice{{"1", "1 - High"}, {"2", "2 - Medium"}, {"3", "3 - Low"}}},
		{"urgency", []choice{{"1", "1 - High"}, {"2", "2 - Medium"}, {"3", "3 - Low"}}},
		{"close_code", []choice{{"successful", "Successful"}, {"successful_issues", "Successful with issues"}, {"unsuccessful", "Unsuccessful"}}},
	}...)
	ofChanges := len(lists)
	var taskStates []choice
	for _, l := range s.taskLabels() {
		taskStates = append(taskStates, choice{l.value, l.label})
	}
	lists = append(lists, []struct {
		element string
		choices []choice
	}{
		{"state", taskStates},
		{"change_task_type", []choice{{"planning", "Planning"}, {"implementation", "Implementation"}, {"testing", "Testing"}, {"review", "Review"}}},
		{"close_code", lists[ofChanges-1].choices},
	}...)
	for n, list := range lists {
		table := "incident"
		switch {
		case n >= ofChanges:
			table = taskTable
		case n >= ofIncidents:
			table = changeTable
		}
		for i, c := range list.choices {
			s.seed("sys_choice", Record{
				"name": table, "element": list.element, "value": c.value, "label": c.label, "sequence": strconv.Itoa(i + 1),
			})
		}
	}
}

// choice finds an active choice of a column by its value or, for display
// input, by its label.
func (s *Server) choice(table, element, given string, byLabel bool) (Record, bool) {
	for _, r := range s.tables["sys_choice"].order {
		v := r.values
		if v["name"] != table || v["element"] != element || v["inactive"] == "true" {
			continue
		}
		if v["value"] == given || byLabel && v["label"] == given {
			return v, true
		}
	}
	return nil, false
}
