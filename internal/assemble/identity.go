package assemble

import (
	"fmt"
	"os"
	"os/user"
	"strconv"

	"sluice/internal/config"
	"sluice/spawner"
)

// Identity looks up the user and group that workers run as. It is nil when
// neither is set. A user or group may be a number.
func Identity(c *config.Config) (*spawner.Identity, error) { return identity(c.User, c.Group) }

// AppIdentity looks up the user and group that the children of an app run as:
// its own, else the workers'. It is nil when neither is set.
func AppIdentity(a *config.App) (*spawner.Identity, error) {
	id, err := identity(a.User, a.Group)
	if err != nil {
		return nil, fmt.Errorf("app %q: %w", a.Name, err)
	}
	return id, nil
}

func identity(user, group string) (*spawner.Identity, error) {
	if user == "" && group == "" {
		return nil, nil
	}
	id := &spawner.Identity{UID: os.Getuid(), GID: os.Getgid()}
	if user != "" {
		if err := setUser(id, user); err != nil {
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

func setUser(id *spawner.Identity, name string) error {
	u, err := LookUpUser(name)
	if err != nil {
		return err
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

// LookUpUser finds a user by name, else by number.
func LookUpUser(name string) (*user.User, error) {
	u, err := user.Lookup(name)
	if err != nil {
		if u, err = user.LookupId(name); err != nil {
			return nil, fmt.Errorf("user %q does not exist", name)
		}
	}
	return u, nil
}

// LookUpGroup finds the number of a group by name, else by number.
func LookUpGroup(name string) (int, error) {
	g, err := user.LookupGroup(name)
	if err != nil {
		if g, err = user.LookupGroupId(name); err != nil {
			return 0, fmt.Errorf("group %q does not exist", name)
		}
	}
	return strconv.Atoi(g.Gid)
}
