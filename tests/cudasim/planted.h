/* planted.h - kernels with one mistake each, which the simulator must find, and the same without.
 */
#ifndef CUDASIM_PLANTED_H
#define CUDASIM_PLANTED_H

#ifdef __cplusplus
extern "C" {
#endif

enum {
    PLANTED_NONE = 0,
    PLANTED_NO_BARRIER,      /* another warp's sum is read without __syncthreads */
    PLANTED_NO_WARP_BARRIER, /* another lane's value is read without __syncwarp */
    PLANTED_PAST_THE_END,    /* an element behind the input is read */
    PLANTED_SHARED_TOO_SMALL,
    PLANTED_UNWRITTEN_SHARED, /* sums of warps that do not exist are added */
    PLANTED_UNWRITTEN_GLOBAL, /* the output is added to, and nobody set it */
    PLANTED_TWO_BLOCKS,       /* all blocks write one element */
    PLANTED_TWO_BARRIERS,     /* one half of the block waits in another __syncthreads */
    PLANTED_HALF_A_SHUFFLE,   /* half of the lanes that the mask names */
    PLANTED_COPY_NOT_WAITED,  /* cp.async's bytes are read at once */
    PLANTED_COPY_OF_OTHERS,   /* waited for, but no barrier before other threads read */
    PLANTED_HOST_POINTER,     /* memory that is not the device's */
    PLANTED_MISALIGNED,       /* 16 bytes at a multiple of 4 */
    PLANTED_FREED,            /* memory is read after cudaFree() */
    PLANTED_READ_TOO_EARLY,   /* what the kernel before writes, without waiting for its end */
    PLANTED_WRITE_TOO_EARLY,  /* the output, that an earlier kernel may still be reading */
    PLANTED_NOT_WAITED,       /* a block returns at once: it may end before earlier kernels do */
    PLANTED_CLUSTER,          /* from here on those of cluster_rows.cuh, in its order */
    PLANTED_NOT_MET = PLANTED_CLUSTER,
    PLANTED_LEFT,
    PLANTED_UNTOLD,
    PLANTED_COUNT
};

/* Sums of rows, which another kernel copied, in two blocks of two warps, and rows that a cluster shares, with that mistake; 0
 * when the results are right. */
int planted_run(int mistake);

#ifdef __cplusplus
}
#endif

#endif
