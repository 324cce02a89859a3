// silent DIRECTORY PROGRAM [ARGUMENT]...: runs PROGRAM from a file system at DIRECTORY, in a mount namespace of its
// own, that answers everything but a second opening of the file: a daemon that hangs, a network that is gone. Who
// opens the file waits until the program ends.
//
// The file system is FUSE's (include/uapi/linux/fuse.h), spoken without its library by a child.

#include "common.h"
#include <errno.h>
#include <linux/fuse.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>

enum { FILE_NODE = 2, REQUEST = 1 << 18, ANSWER = 1 << 17, FOR_EVER = 3600 };

static int device, image;
static struct stat image_stat;

static void answer(const struct fuse_in_header *request, int error, const void *body, size_t size) {
    static char buffer[sizeof(struct fuse_out_header) + ANSWER];
    struct fuse_out_header header = {sizeof header + size, error, request->unique};
    memcpy(buffer, &header, sizeof header);
    memcpy(buffer + sizeof header, body, size);
    if (write(device, buffer, header.len) < 0 && errno != ENOENT)
        _exit(1);
}

static struct fuse_attr attributes(uint64_t node) {
    struct fuse_attr attr = {.ino = node, .nlink = 1, .mode = S_IFDIR | 0755, .blksize = 4096};
    if (node == FILE_NODE) {
        attr.mode = S_IFREG | 0755;
        attr.size = (uint64_t)image_stat.st_size;
        attr.blocks = attr.size / 512 + 1;
    }
    return attr;
}

static void look_up(const struct fuse_in_header *request, const char *name) {
    if (strcmp(name, "program")) {
        answer(request, -ENOENT, NULL, 0);
        return;
    }
    struct fuse_entry_out entry = {.nodeid = FILE_NODE, .entry_valid = FOR_EVER, .attr_valid = FOR_EVER};
    entry.attr = attributes(FILE_NODE);
    answer(request, 0, &entry, sizeof entry);
}

static void read_image(const struct fuse_in_header *request, const struct fuse_read_in *read) {
    static char bytes[ANSWER];
    size_t size = read->size < sizeof bytes ? read->size : sizeof bytes;
    ssize_t done = pread(image, bytes, size, (off_t)read->offset);
    answer(request, done < 0 ? -EIO : 0, bytes, done < 0 ? 0 : (size_t)done);
}

static void serve(void) {
    static char buffer[REQUEST];
    const struct fuse_in_header *request = (const void *)buffer;
    const void *body = buffer + sizeof *request;
    int opened = 0;
    while (read(device, buffer, sizeof buffer) > 0) {
        switch (request->opcode) {
        case FUSE_INIT: {
            struct fuse_init_out init = {.major = FUSE_KERNEL_VERSION, .minor = 31, .max_write = 4096};
            init.max_readahead = ((const struct fuse_init_in *)body)->max_readahead;
            answer(request, 0, &init, sizeof init);
            break;
        }
        case FUSE_LOOKUP:
            look_up(request, body);
            break;
        case FUSE_GETATTR: {
            struct fuse_attr_out attr = {.attr_valid = FOR_EVER, .attr = attributes(request->nodeid)};
            answer(request, 0, &attr, sizeof attr);
            break;
        }
        case FUSE_OPEN: {
            struct fuse_open_out open = {.fh = 1, .open_flags = FOPEN_KEEP_CACHE};
            if (!opened++)
                answer(request, 0, &open, sizeof open);
            break;
        }
        case FUSE_READ:
            read_image(request, body);
            break;
        case FUSE_RELEASE:
        case FUSE_FLUSH:
            answer(request, 0, NULL, 0);
            break;
        case FUSE_FORGET:
        case FUSE_BATCH_FORGET:
        case FUSE_INTERRUPT:
            break;
        default:
            answer(request, -ENOSYS, NULL, 0);
        }
    }
}

int main(int argc, char **argv) {
    start();
    if (argc < 3)
        return 2;
    image = open(argv[2], O_RDONLY | O_CLOEXEC);
    device = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    if (image < 0 || device < 0 || fstat(image, &image_stat))
        return perror("the program or /dev/fuse"), 1;
    char options[100];
    snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0", device);
    if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
        mount("silent", argv[1], "fuse", MS_NOSUID | MS_NODEV, options))
        return perror("a mount of FUSE"), 1;
    if (!fork()) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        serve();
        return 0;
    }
    char program[4096];
    snprintf(program, sizeof program, "%s/program", argv[1]);
    argv[2] = program;
    execv(program, argv + 2);
    return perror(program), 1;
}
