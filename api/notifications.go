package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/fettleops/fettle/notify"
	"github.com/fettleops/fettle/ops"
)

// Notifications answers what was told to whom.
type Notifications interface {
	Notifications(ctx context.Context, f ops.NotificationFilter) ([]ops.Notification, error)
}

// Channels is what people ask of channels.
type Channels interface {
	Channels(ctx context.Context) ([]notify.ChannelView, error)
	Test(ctx context.Context, by ops.Principal, name string) error
	Resend(ctx context.Context, by ops.Principal, id, via string) (ops.Notification, error)
}

// ChannelView is a channel with what waits for it.
type ChannelView = notify.ChannelView

type notificationQuery struct {
	Page
	Channel string   `query:"channel" doc:"name of a channel"`
	State   []string `query:"state" doc:"states, comma separated: waiting, sending, sent, held, unsure, listed, given_up"`
	Digest  string   `query:"digest" doc:"id of the digest that lists them"`
}

// ByChannel names a channel in the path.
type ByChannel struct {
	Name string `path:"name" doc:"configured name of the channel"`
}

type resendInput struct {
	ID  string `path:"id" doc:"id of the notification"`
	Via string `query:"via" enum:"api,cli" default:"api" doc:"how it was asked for"`
}

func (a *API) notificationRoutes() {
	op(a, http.MethodGet, "/channels", "list-channels", "List the channels that are told, and what waits for each", ops.MayRead,
		func(ctx context.Context, _ ops.Principal, _ *none) (List[notify.ChannelView], error) {
			items, err := a.Channels.Channels(ctx)
			return newList(items, 0, nil), err
		})
	op(a, http.MethodPost, "/channels/{name}/test", "test-channel", "Send a test message to a channel", ops.MayManageChanges,
		func(ctx context.Context, by ops.Principal, in *ByChannel) (Checked, error) {
			err := a.Channels.Test(ctx, by, in.Name)
			if errors.Is(err, notify.ErrNoChannel) {
				return Checked{}, err
			}
			if err != nil {
				return Checked{Error: err.Error()}, nil
			}
			return Checked{OK: true}, nil
		})
	op(a, http.MethodGet, "/notifications", "list-notifications", "List notifications with what became of each, newest first", ops.MayRead, a.listNotifications)
	op(a, http.MethodPost, "/notifications/{id}/resend", "resend-notification", "Send a notification again that was given up, under the same id", ops.MayManageChanges,
		func(ctx context.Context, by ops.Principal, in *resendInput) (ops.Notification, error) {
			return a.Channels.Resend(ctx, by, in.ID, in.Via)
		})
}

func (a *API) listNotifications(ctx context.Context, _ ops.Principal, in *notificationQuery) (List[ops.Notification], error) {
	f := ops.NotificationFilter{Channel: in.Channel, Digest: in.Digest, Limit: in.Limit}
	var err error
	if f.States, err = words(in.State, ops.ParseNotificationState); err != nil {
		return List[ops.Notification]{}, err
	}
	if f.Before, err = in.before(); err != nil {
		return List[ops.Notification]{}, err
	}
	found, err := a.Notifications.Notifications(ctx, f)
	return newList(found, in.Limit, func(n ops.Notification) int64 { return n.Number }), err
}
