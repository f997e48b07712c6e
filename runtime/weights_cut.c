#include "runtime/weights_cut.h"

#include <stdlib.h>
#include <string.h>

#include "kernels/backend.h"

enum { MAX_PIECES = 4 };

/* What of a block is this rank's, tensor by tensor. */
typedef struct pieces {
    sa2_cut cuts[MAX_PIECES];
    int n;
    bool cut; /* it is not everything */
} pieces;

static void note(sa2_weights *w, sa2_status st)
{
    if (w->status == SA2_OK)
        w->status = st;
}

static pieces find_pieces(const sa2_weights *w, const sa2_pack_block *block)
{
    const sa2_pack *pack = sa2_tensor_map_pack(w->map);
    pieces p = {0};
    int64_t to_row = 0;
    for (int i = 0; i < sa2_pack_n_tensors(pack) && p.n < MAX_PIECES; i++) {
        const sa2_pack_tensor *t = sa2_pack_get_tensor(pack, i);
        sa2_tensor_slice part = {.slice = {0, t->shape[0], t->shape[0]}};
        if (sa2_pack_get_block(pack, t->block) != block)
            continue;
        p.cut = sa2_shard_find(w->shard, t->name, &part) || p.cut;
        bool rows = part.axis == 0;
        sa2_cut cut = {.row = rows ? part.slice.first : 0,
                       .n = rows ? part.slice.n : t->shape[0],
                       .col = rows ? 0 : part.slice.first};
        if (t->form == SA2_PACK_FORM_GATE || t->form == SA2_PACK_FORM_UP) {
            cut.half = t->form == SA2_PACK_FORM_GATE ? SA2_MATRIX_GATE : SA2_MATRIX_UP;
        } else {
            cut.row += t->first;
            cut.to_row = to_row;
            to_row += cut.n;
        }
        p.cuts[p.n++] = cut;
    }
    return p;
}

bool sa2_weights_is_cut(const sa2_weights *w, const sa2_pack_block *block)
{
    return w->shard != NULL && w->shard->size > 1 && find_pieces(w, block).cut;
}

/* Gate and up of a rank lie between each other as one range. */
static bool is_one_range(const pieces *p)
{
    return p->n == 1 ||
           (p->n == 2 && p->cuts[0].half != SA2_MATRIX_ALL && p->cuts[1].half != SA2_MATRIX_ALL);
}

bool sa2_weights_cut_in_place(sa2_weights *w, const sa2_pack_block *block, const sa2_tensor *wanted,
                              void **data)
{
    const sa2_layout *layout = sa2_layout_find(block->layout);
    pieces p = find_pieces(w, block);
    if (layout == NULL || layout->rows_together == 0 || !is_one_range(&p) ||
        wanted->shape[1] != block->shape[1])
        return false;
    int64_t row = p.n * p.cuts[0].row; /* two: of gate and of up */
    bool last = row + wanted->shape[0] == block->shape[0];
    if (row % layout->rows_together != 0 ||
        (wanted->shape[0] % layout->rows_together != 0 && !last))
        return false;
    w->mapped += layout->bytes(wanted->shape[0], wanted->shape[1]);
    if (w->arena != NULL)
        *data = (void *)(uintptr_t)(block->data + layout->bytes(row, block->shape[1]));
    return true;
}

bool sa2_weights_cut_out(sa2_weights *w, const sa2_pack_block *block, const sa2_layout *layout,
                         sa2_matrix *matrix)
{
    if (layout->cut == NULL || matrix->data == NULL)
        return false;
    size_t bytes = layout->bytes(matrix->rows, matrix->cols);
    sa2_matrix part = *matrix;
    const sa2_matrix whole = {.data = (void *)(uintptr_t)block->data,
                              .dtype = block->dtype,
                              .rows = block->shape[0],
                              .cols = block->shape[1]};
    pieces p = find_pieces(w, block);
    part.data = calloc(1, bytes); /* what is beyond the matrix is 0 */
    bool done = part.data != NULL;
    if (!done)
        note(w, sa2_fail_also(w->err, SA2_ERR_NOMEM, "%s: no memory to cut it", block->name));
    for (int i = 0; i < p.n && done; i++)
        done = layout->cut(&part, &whole, &p.cuts[i]);
    if (done)
        sa2_upload(w->stream, sa2_tensor_1d(matrix->data, SA2_U8, (int64_t)bytes), part.data);
    free(part.data);
    return done;
}

void sa2_weights_cut_check(sa2_weights *w, const sa2_pack_block *block)
{
    const sa2_pack *pack = sa2_tensor_map_pack(w->map);
    int i = 0;
    while (sa2_pack_get_block(pack, i) != block)
        i++;
    if (i % w->shard->size == w->shard->rank)
        note(w, sa2_tensor_map_check_block(w->map, block, w->err));
}
