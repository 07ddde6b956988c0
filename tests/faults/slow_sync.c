/* Preloaded into a node: every fsync and fdatasync takes longer, by as many milliseconds as the file SLOW_SYNC says now. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static void wait_as_told(void)
{
    const char *path = getenv("SLOW_SYNC");
    FILE *file = path ? fopen(path, "r") : NULL;
    long milliseconds = 0;
    if (file == NULL)
        return;
    if (fscanf(file, "%ld", &milliseconds) != 1)
        milliseconds = 0;
    fclose(file);
    struct timespec wait = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    if (milliseconds > 0)
        nanosleep(&wait, NULL);
}

#define SLOW(name)                                              \
    int name(int descriptor)                                    \
    {                                                           \
        int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, #name); \
        wait_as_told();                                         \
        return real(descriptor);                                \
    }

SLOW(fsync)
SLOW(fdatasync)
