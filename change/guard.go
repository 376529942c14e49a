package change

// guard names one rule that keeps a change from going on. Production never
// switches one off: the set of those that are off is private to the gate and
// filled only by tests, which prove for each guard that its absence is noticed.
type guard string

// The guards.
const (
	guardPlan       guard = "a plan matches its digest"
	guardPerson     guard = "only a person decides"
	guardRequester  guard = "who requested it does not decide"
	guardEditor     guard = "who edited it does not decide"
	guardRole       guard = "the awaited role decides"
	guardTeam       guard = "an owner decides about the own team"
	guardTwice      guard = "a person approves once"
	guardShown      guard = "the digest that was shown is the one that stands"
	guardExpired    guard = "an expired request is not answered"
	guardStandard   guard = "only standard changes are approved automatically"
	guardFourEyes   guard = "high risk needs two persons"
	guardSpan       guard = "a delegate decides within the span"
	guardAbsent     guard = "a delegate does not decide for who requested or edited it"
	guardOnce       guard = "a platform's decision counts once"
	guardOnTicket   guard = "a platform's decision is about the digest that stands"
	guardRevision   guard = "a platform's decision is about the revision that stands"
	guardWritten    guard = "a platform's decision comes after the digest was written"
	guardPlace      guard = "an approval is given in the platform its rule names"
	guardWithdrawer guard = "only the requester or a change manager withdraws"
	guardOffer      guard = "only cloud operations give a window"
	guardEdited     guard = "an edited change is no longer standard"
	guardApproved   guard = "only an approved plan starts"
	guardWindow     guard = "a start lies inside a window"
	guardOffered    guard = "an offered window holds while it stands"
	guardFits       guard = "a start leaves the time to roll back"
	guardFreeze     guard = "a freeze denies"
	guardSwitch     guard = "the switch stops a start"
	guardLock       guard = "a resource has one run at a time"
	guardRate       guard = "automated starts are limited"
	guardBlast      guard = "touched resources are limited"
	guardTotal      guard = "runs at a time are limited"
	guardService    guard = "runs of a service at a time are limited"
	guardAccount    guard = "runs in an account at a time are limited"
	guardOrder      guard = "what a resource depends on goes first"
	guardGlassRole  guard = "glass is broken by the freeze's roles"
	guardGlassPair  guard = "glass is broken by two persons"
	guardGlassOwn   guard = "who requested it breaks no glass"
	guardReview     guard = "broken glass demands a review"
	guardReviewer   guard = "another person signs the review"
	guardUndoSwitch guard = "the switch stops a roll-back"
	guardUndoWindow guard = "a roll-back lies inside the window"
	guardUndoFreeze guard = "a freeze denies a roll-back"
)

// on reports whether a guard stands.
func (g *Gate) on(x guard) bool { return !g.off[x] }
