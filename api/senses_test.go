package api

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/fettleops/fettle/detect"
	"github.com/fettleops/fettle/ops"
)

var noon = time.Date(2026, 11, 19, 12, 0, 0, 0, time.UTC)

// seer is five watched series and three anomalies; it remembers what it was
// asked.
type seer struct {
	series    ops.WatchedFilter
	anomalies ops.AnomalyFilter
	from, to  time.Time
}

func (s *seer) Series(_ context.Context, f ops.WatchedFilter) ([]ops.Watched, int, error) {
	s.series = f
	var out []ops.Watched
	for n := range 5 {
		w := ops.Watched{ID: fmt.Sprint("s", n), Group: "hosts", Entity: fmt.Sprint("web", n), Learned: 41, Needed: 128}
		if w.Cursor() > f.After && len(out) < f.Limit {
			out = append(out, w)
		}
	}
	return out, 5, nil
}

func (s *seer) View(_ context.Context, id string, from, to time.Time) (detect.View, error) {
	s.from, s.to = from, to
	if id != "s1" {
		return detect.View{}, fmt.Errorf("series %q is not watched: %w", id, ops.ErrNotFound)
	}
	nan := float32(math.NaN())
	return detect.View{
		Watched: ops.Watched{ID: id, Group: "hosts", Entity: "web1", Learned: 128, Needed: 128, Anomaly: "a1", Held: []ops.LearningHold{{Why: "INC-7 is open", Key: "INC-7", From: noon, Until: noon.Add(time.Hour)}}}, From: from, To: to,
		Features: []detect.Feature{{Name: "cpu", Unit: "1"}},
		Readings: []detect.Reading{
			{At: noon.UnixMilli(), Score: 0.31, Raw: 0.4, Threshold: float32(math.Inf(1)), Values: []float32{nan}, Expected: []float32{0.31}, Low: []float32{0.25}, High: []float32{0.4}},
			{At: noon.Add(time.Minute).UnixMilli(), Score: 0.9, Raw: 3, Grade: 0.5, Threshold: 1, Values: []float32{0.97}, Expected: []float32{0.31}, Low: []float32{0.25}, High: []float32{0.4}},
		},
		Findings: []detect.Finding{{Anomaly: ops.Anomaly{ID: "a1", Open: true}, Incident: &ops.Incident{Number: 7}}},
	}, nil
}

func (s *seer) Anomalies(_ context.Context, f ops.AnomalyFilter) ([]ops.Anomaly, error) {
	s.anomalies = f
	if _, _, err := ops.ParseAnomalyCursor(f.Before); f.Before != "" && err != nil {
		return nil, err
	}
	return []ops.Anomaly{{ID: "a1", From: noon}, {ID: "a2", From: noon}}, nil
}

func (s *seer) Anomaly(_ context.Context, id string) (detect.Finding, error) {
	if id != "a1" {
		return detect.Finding{}, fmt.Errorf("there is no anomaly %q: %w", id, ops.ErrNotFound)
	}
	return detect.Finding{Anomaly: ops.Anomaly{ID: id}, Incident: &ops.Incident{Number: 7}}, nil
}

// asked serves a request of a viewer and decodes its answer into out.
func asked(t *testing.T, s *seer, path string, want int, out any) {
	t.Helper()
	a := New(Deps{
		Logger: slog.New(slog.DiscardHandler), Senses: s, Clock: func() time.Time { return noon },
		Bearer: func(context.Context, string) (ops.Principal, error) {
			return ops.Principal{Name: "vi", Kind: ops.Person, Roles: []ops.Role{ops.Viewer}}, nil
		},
	})
	r := httptest.NewRequest(http.MethodGet, "/api/v1"+path, nil)
	r.Header.Set("Authorization", "Bearer x")
	w := httptest.NewRecorder()
	a.ServeHTTP(w, r)
	if w.Code != want {
		t.Fatalf("%s gives %d %s, want %d", path, w.Code, w.Body, want)
	}
	if out != nil {
		if err := json.Unmarshal(w.Body.Bytes(), out); err != nil {
			t.Fatalf("%s: %v in %s", path, err, w.Body)
		}
	}
}

func TestSeriesPageByPage(t *testing.T) {
	s := &seer{}
	var got []string
	for cursor := ""; ; {
		var page List[SeriesSummary]
		asked(t, s, "/series?limit=2&q=web&group=hosts&state=learning,normal&cursor="+url.QueryEscape(cursor), 200, &page)
		for _, x := range page.Items {
			got = append(got, x.ID)
			if x.State != ops.WatchedLearning || x.Progress != "learning, 41 of 128 points" {
				t.Errorf("%s is %s: %s", x.ID, x.State, x.Progress)
			}
		}
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	if fmt.Sprint(got) != "[s0 s1 s2 s3 s4]" {
		t.Errorf("page by page there are %v", got)
	}
	if f := s.series; f.Text != "web" || f.Group != "hosts" || len(f.States) != 2 {
		t.Errorf("it was asked for %+v", f)
	}
	asked(t, s, "/series?state=odd", 422, nil)
}

func TestASeriesIsColumns(t *testing.T) {
	s := &seer{}
	var v SeriesView
	asked(t, s, "/series/s1", 200, &v)
	if !s.to.Equal(noon) || s.to.Sub(s.from) != 24*time.Hour {
		t.Errorf("by default it is from %s to %s", s.from, s.to)
	}
	if len(v.At) != 2 || v.Limit[0] != nil || *v.Limit[1] != 1 || *v.Score[0] != 0.31 || *v.Grade[1] != 0.5 {
		t.Errorf("the columns are %+v", v)
	}
	if c := v.Features[0]; c.Name != "cpu" || c.Value[0] != nil || *c.Value[1] != 0.97 || *c.Low[0] != 0.25 {
		t.Errorf("the feature is %+v", c)
	}
	if v.State != ops.WatchedAnomalous || len(v.Anomalies) != 1 || v.Anomalies[0].Incident != "INC-7" || v.Changes == nil || v.Windows == nil {
		t.Errorf("around it there is %+v", v)
	}
	if len(v.Held) != 1 || v.Held[0].Why != "INC-7 is open" || v.Held[0].Key != "INC-7" || !v.Held[0].Until.Equal(noon.Add(time.Hour)) {
		t.Errorf("its learning is held by %+v", v.Held)
	}
	asked(t, s, "/series/s1?from=2026-11-01T00:00:00Z&to=2026-11-02T00:00:00Z", 200, &v)
	if s.to.Sub(s.from) != 24*time.Hour || s.to.Day() != 2 {
		t.Errorf("asked for a day, it is from %s to %s", s.from, s.to)
	}
	asked(t, s, "/series/nobody", 404, nil)
	asked(t, s, "/series/s1?from=yesterday", 422, nil)
}

func TestAnomaliesAreFiltered(t *testing.T) {
	s := &seer{}
	var page List[ops.Anomaly]
	asked(t, s, "/anomalies?limit=2&state=open&series=s1&group=hosts&entity=web1&q=cpu&from=2026-11-01T00:00:00Z", 200, &page)
	if f := s.anomalies; f.Series != "s1" || f.Group != "hosts" || f.Entity != "web1" || f.Text != "cpu" || f.From.Day() != 1 || len(f.States) != 1 {
		t.Errorf("it was asked for %+v", f)
	}
	if len(page.Items) != 2 || page.Next != page.Items[1].Cursor() {
		t.Errorf("the page is %+v", page)
	}
	asked(t, s, "/anomalies?cursor=x", 422, nil)
	asked(t, s, "/anomalies?state=odd", 422, nil)
	var one AnomalyView
	asked(t, s, "/anomalies/a1", 200, &one)
	if one.Incident != "INC-7" {
		t.Errorf("it is in %q", one.Incident)
	}
	asked(t, s, "/anomalies/nobody", 404, nil)
}
