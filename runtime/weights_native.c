#include "runtime/weights_native.h"

#include <string.h>

#include "kernels/backend.h"
#include "kernels/layout.h"
#include "runtime/weights_cut.h"

static void note(sa2_weights *w, sa2_status st)
{
    if (w->status == SA2_OK)
        w->status = st;
}

static void refuse_layout(sa2_weights *w, const sa2_pack_block *block, const char *wanted)
{
    if (w->status == SA2_ERR_UNSUPPORTED)
        return; /* once for the whole file */
    const char *path = sa2_pack_path(sa2_tensor_map_pack(w->map));
    note(w,
         sa2_fail_also(w->err, SA2_ERR_UNSUPPORTED,
                       "%s: %s is in the order %.60s, this device reads %s; make the file again: "
                       "sa2 convert --device %s FOLDER %s",
                       path, block->name, block->layout, wanted,
                       sa2_backend_device(sa2_stream_backend(w->stream)), path));
}

static void refuse_shape(sa2_weights *w, const sa2_pack_block *block, const sa2_tensor *wanted)
{
    char expected[96], found[96];
    sa2_tensor has = {.dtype = block->dtype, .ndim = block->ndim};
    memcpy(has.shape, block->shape, sizeof has.shape);
    note(w, sa2_fail_also(w->err, SA2_ERR_FORMAT, "%s: %s: %s expected, %s found",
                          sa2_pack_path(sa2_tensor_map_pack(w->map)), block->name,
                          sa2_tensor_describe(wanted, expected, sizeof expected),
                          sa2_tensor_describe(&has, found, sizeof found)));
}

/* The block `name` of the native file that weights are taken from; NULL: there is no such file, or no such block. */
static const sa2_pack_block *block_of(const sa2_weights *w, const char *name)
{
    bool native = w->map != NULL && sa2_tensor_map_pack(w->map) != NULL && w->sink == NULL;
    return native ? sa2_tensor_map_find_block(w->map, name) : NULL;
}

/* The block's data. False: it is to be converted. */
static bool find_block(sa2_weights *w, const char *name, const char *layout,
                       const sa2_tensor *wanted, void **data)
{
    const sa2_pack_block *block = block_of(w, name);
    if (block == NULL)
        return false;
    if (block->dtype != wanted->dtype) {
        if (w->arena != NULL) /* what is copied has been checked as well */
            note(w, sa2_tensor_map_check_block(w->map, block, w->err));
        return false;
    }
    if (sa2_weights_is_cut(w, block)) {
        if (w->arena != NULL)
            sa2_weights_cut_check(w, block);
        return strcmp(block->layout, layout) == 0 && wanted->ndim == 2 &&
               sa2_weights_cut_in_place(w, block, wanted, data);
    }
    if (sa2_backend_reads_host(sa2_stream_backend(w->stream)))
        w->mapped += (size_t)block->bytes;
    if (w->arena == NULL) /* measuring: no room is needed for it */
        return true;
    if (strcmp(block->layout, layout) != 0) {
        refuse_layout(w, block, layout);
    } else if (block->ndim != wanted->ndim ||
               memcmp(block->shape, wanted->shape, (size_t)block->ndim * sizeof block->shape[0]) !=
                   0) {
        refuse_shape(w, block, wanted);
    } else {
        sa2_status st = sa2_tensor_map_check_block(w->map, block, w->err);
        note(w, st);
        if (st == SA2_OK)
            *data = (void *)(uintptr_t)block->data; /* read only, as the map is */
    }
    return true;
}

bool sa2_weights_native_tensor(sa2_weights *w, const char *name, sa2_tensor *x)
{
    return find_block(w, name, SA2_PACK_ROWS, x, &x->data);
}

/* What is rounded already is taken as it is. False: something else was wanted. */
static bool takes_quant(sa2_weights *w, const char *name, sa2_quant quant, sa2_matrix *matrix)
{
    const sa2_pack_block *block = block_of(w, name);
    if (block == NULL || !sa2_dtype_is_rounded(block->dtype))
        return true;
    if (quant != SA2_QUANT_NONE && block->dtype != matrix->dtype) {
        const char *path = sa2_pack_path(sa2_tensor_map_pack(w->map));
        note(w, sa2_fail_also(w->err, SA2_ERR_UNSUPPORTED,
                              "%s: %s is rounded to %s already; make the file again: sa2 convert "
                              "--quant %s FOLDER %s",
                              path, block->name, sa2_dtype_name(block->dtype),
                              sa2_quant_name(quant), path));
        return false;
    }
    matrix->dtype = block->dtype;
    return true;
}

bool sa2_weights_native_matrix(sa2_weights *w, const char *name, sa2_quant quant,
                               sa2_matrix *matrix)
{
    if (!takes_quant(w, name, quant, matrix))
        return true;
    const sa2_tensor wanted = sa2_tensor_2d(NULL, matrix->dtype, matrix->rows, matrix->cols);
    const sa2_layout *layout = sa2_stream_layout(w->stream, matrix->dtype);
    return find_block(w, name, layout != NULL ? layout->name : "none", &wanted, &matrix->data);
}

bool sa2_weights_native_cut(sa2_weights *w, const char *name, sa2_matrix *matrix)
{
    const sa2_pack_block *block = block_of(w, name);
    const sa2_layout *layout = sa2_stream_layout(w->stream, matrix->dtype);
    return block != NULL && layout != NULL && strcmp(block->layout, layout->name) == 0 &&
           sa2_weights_is_cut(w, block) && sa2_weights_cut_out(w, block, layout, matrix);
}
