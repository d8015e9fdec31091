//go:build linux

// Package slowdisk is a disk that can be made to hang: a folder that is mounted by FUSE, and in which writes wait as
// long as somebody holds them up. It needs root and /dev/fuse.
package slowdisk

import (
	"context"
	"fmt"
	"sync"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// Disk is a mounted folder.
type Disk struct {
	// Dir is where it is mounted.
	Dir string

	server *fuse.Server
	mu     sync.Mutex
	open   chan struct{} // closed while nothing hangs
}

// Mount mounts a disk on an empty folder. What is written to it is in another folder, behind.
func Mount(dir, behind string) (*Disk, error) {
	loop, err := fs.NewLoopbackRoot(behind)
	if err != nil {
		return nil, fmt.Errorf("mount a disk: %w", err)
	}
	d := &Disk{Dir: dir, open: make(chan struct{})}
	close(d.open)
	options := fuse.MountOptions{DirectMount: true, FsName: behind, Name: "slowdisk"}
	server, err := fs.Mount(dir, d.node(loop), &fs.Options{MountOptions: options})
	if err != nil {
		return nil, fmt.Errorf("mount a disk: %w", err)
	}
	d.server = server
	return d, nil
}

// Hang holds up every file that is made or synced, and every question how full the disk is, until Continue.
func (d *Disk) Hang() {
	d.mu.Lock()
	defer d.mu.Unlock()
	select {
	case <-d.open:
		d.open = make(chan struct{})
	default:
	}
}

// Continue lets everything go on.
func (d *Disk) Continue() {
	d.mu.Lock()
	defer d.mu.Unlock()
	select {
	case <-d.open:
	default:
		close(d.open)
	}
}

// Close unmounts the disk. Nobody may have a file of it open.
func (d *Disk) Close() error {
	d.Continue()
	return d.server.Unmount()
}

// pass waits until nothing hangs, or the one who asks has ended.
func (d *Disk) pass(ctx context.Context) syscall.Errno {
	d.mu.Lock()
	open := d.open
	d.mu.Unlock()
	select {
	case <-open:
		return 0
	case <-ctx.Done():
		return syscall.EINTR
	}
}

// node is a file or folder.
type node struct {
	*fs.LoopbackNode
	disk *Disk
}

// WrapChild implements fs.NodeWrapChilder.
func (n *node) WrapChild(_ context.Context, of fs.InodeEmbedder) fs.InodeEmbedder {
	return n.disk.node(of)
}

func (d *Disk) node(of fs.InodeEmbedder) *node {
	return &node{of.(*fs.LoopbackNode), d} //nolint:forcetypeassert // the loopback makes no others
}

// Create implements fs.NodeCreater.
func (n *node) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (
	*fs.Inode, fs.FileHandle, uint32, syscall.Errno,
) {
	if err := n.disk.pass(ctx); err != 0 {
		return nil, nil, 0, err
	}
	inode, file, flags, err := n.LoopbackNode.Create(ctx, name, flags, mode, out)
	return inode, file, flags, err
}

// Statfs implements fs.NodeStatfser.
func (n *node) Statfs(ctx context.Context, out *fuse.StatfsOut) syscall.Errno {
	if err := n.disk.pass(ctx); err != 0 {
		return err
	}
	return n.LoopbackNode.Statfs(ctx, out)
}

// Fsync implements fs.NodeFsyncer.
func (n *node) Fsync(ctx context.Context, file fs.FileHandle, flags uint32) syscall.Errno {
	if err := n.disk.pass(ctx); err != 0 {
		return err
	}
	if synced, ok := file.(fs.FileFsyncer); ok {
		return synced.Fsync(ctx, flags)
	}
	return 0 // a folder
}
