package assemble

import (
	"fmt"
	"os"
	"os/user"
	"reflect"
	"strconv"

	"sluice/internal/config"
	"sluice/spawner"
)

// Identities are who everything runs as; nil is: as this process.
type Identities struct {
	Workers *spawner.Identity
	apps    map[string]*spawner.Identity
}

// LookUpIdentities looks up the users and groups of a configuration. A user or
// group may be a number; one of a user that has no entry in the user database
// needs a group beside it.
func LookUpIdentities(c *config.Config) (*Identities, error) {
	workers, err := Identity(c.User, c.Group)
	if err != nil {
		return nil, err
	}
	ids := &Identities{Workers: workers, apps: map[string]*spawner.Identity{}}
	for _, a := range c.Apps {
		if ids.apps[a.Name], err = Identity(a.User, a.Group); err != nil {
			return nil, fmt.Errorf("app %q: %w", a.Name, err)
		}
	}
	return ids, nil
}

// App is who the children of an app run as: its own user, else the workers'.
func (ids *Identities) App(a *config.App) *spawner.Identity { return ids.apps[a.Name] }

// Apart reports whether the scripts of an app run as another user than the
// workers, so that a worker cannot start them. Who is not root has one user.
func (ids *Identities) Apart(a *config.App) bool {
	return a.Kind == config.KindCGI && os.Geteuid() == 0 && !reflect.DeepEqual(own(ids.App(a)), own(ids.Workers))
}

// own is the identity, or that of root.
func own(id *spawner.Identity) spawner.Identity {
	if id == nil {
		return spawner.Identity{}
	}
	return *id
}

// Identity looks up who programs of a user and group run as; nil when neither is
// given.
func Identity(user, group string) (*spawner.Identity, error) {
	if user == "" && group == "" {
		return nil, nil
	}
	id := &spawner.Identity{UID: os.Getuid(), GID: os.Getgid()}
	if user != "" {
		if err := setUser(id, user, group != ""); err != nil {
			return nil, err
		}
	}
	if group != "" {
		gid, err := LookUpGroup(group)
		if err != nil {
			return nil, err
		}
		id.GID = gid
	}
	if os.Geteuid() != 0 && (id.UID != os.Getuid() || id.GID != os.Getgid()) {
		return nil, fmt.Errorf("only root can run programs as user %q, group %q", user, group)
	}
	return id, nil
}

// setUser sets the user with his groups. A mere number has none.
func setUser(id *spawner.Identity, name string, hasGroup bool) (err error) {
	u, err := lookUpUser(name)
	if err != nil {
		uid, numErr := strconv.ParseUint(name, 10, 31)
		if numErr != nil || !hasGroup {
			return err
		}
		id.UID = int(uid)
		return nil
	}
	if id.UID, err = strconv.Atoi(u.Uid); err != nil {
		return err
	}
	if id.GID, err = strconv.Atoi(u.Gid); err != nil {
		return err
	}
	groups, err := u.GroupIds()
	if err != nil {
		return fmt.Errorf("groups of user %q: %w", name, err)
	}
	for _, g := range groups {
		gid, err := strconv.Atoi(g)
		if err != nil {
			return err
		}
		id.Groups = append(id.Groups, gid)
	}
	return nil
}

// lookUpUser finds a user by name, else by number.
func lookUpUser(name string) (*user.User, error) {
	u, err := user.Lookup(name)
	if err != nil {
		if u, err = user.LookupId(name); err != nil {
			return nil, fmt.Errorf("user %q does not exist", name)
		}
	}
	return u, nil
}

// LookUpUser finds the number of a user by name. A number is taken as it is.
func LookUpUser(name string) (int, error) {
	if u, err := user.Lookup(name); err == nil {
		return strconv.Atoi(u.Uid)
	}
	if uid, err := strconv.ParseUint(name, 10, 31); err == nil {
		return int(uid), nil
	}
	return 0, fmt.Errorf("user %q does not exist", name)
}

// LookUpGroup finds the number of a group by name. A number is taken as it is.
func LookUpGroup(name string) (int, error) {
	if g, err := user.LookupGroup(name); err == nil {
		return strconv.Atoi(g.Gid)
	}
	if gid, err := strconv.ParseUint(name, 10, 31); err == nil {
		return int(gid), nil
	}
	return 0, fmt.Errorf("group %q does not exist", name)
}
