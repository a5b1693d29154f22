/*
 * `_dl_find_object` for musl.
 *
 * gcc's static unwinder (libgcc_eh.a) is built for glibc and asks glibc's
 * `_dl_find_object` (glibc manual, "Dynamic Linker Introspection") where the
 * unwind table of an address is. musl has no such function. Without an answer
 * every C++ exception and every Rust panic ends in abort, so this gives the
 * answer from `dl_iterate_phdr`, which musl has.
 *
 * Hidden, so that each object uses its own copy and none is exported.
 */
#define _GNU_SOURCE
#include <link.h>
#include <stddef.h>
#include <stdint.h>

/* The layout of glibc's <dlfcn.h> on x86_64 (no dlfo_eh_dbase). */
struct dl_find_object {
	unsigned long long flags;
	void *map_start;
	void *map_end;
	struct link_map *link_map;
	void *eh_frame;
	unsigned long long reserved[7];
};

struct search {
	uintptr_t address;
	struct dl_find_object *result;
};

static int visit(struct dl_phdr_info *object, size_t size, void *data)
{
	struct search *search = data;
	uintptr_t start = UINTPTR_MAX, end = 0;
	void *eh_frame = NULL;
	int holds_address = 0;

	(void)size;
	for (size_t i = 0; i < object->dlpi_phnum; i++) {
		const ElfW(Phdr) *header = &object->dlpi_phdr[i];
		uintptr_t from = object->dlpi_addr + header->p_vaddr;
		uintptr_t to = from + header->p_memsz;

		if (header->p_type == PT_GNU_EH_FRAME)
			eh_frame = (void *)from;
		if (header->p_type != PT_LOAD)
			continue;
		if (from < start)
			start = from;
		if (to > end)
			end = to;
		if (search->address >= from && search->address < to)
			holds_address = 1;
	}
	if (!holds_address)
		return 0;
	if (eh_frame == NULL)
		return -1;
	search->result->flags = 0;
	search->result->map_start = (void *)start;
	search->result->map_end = (void *)end;
	search->result->link_map = NULL; /* the unwinder does not read it */
	search->result->eh_frame = eh_frame;
	return 1;
}

__attribute__((visibility("hidden")))
int _dl_find_object(void *address, struct dl_find_object *result)
{
	struct search search = { (uintptr_t)address, result };

	return dl_iterate_phdr(visit, &search) == 1 ? 0 : -1;
}
