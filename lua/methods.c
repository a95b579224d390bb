/*
 * The tables of methods that are put together from several files. Those files know a type by its
 * handle alone (lua/vm.h, lua/worker.h, lua/lab.h, lua/file.h), and nobody but this file knows all
 * of them: a method is written where its subject is and listed here. Script thread only.
 */
#include "lua/methods.h"

#include <lauxlib.h>

#include "lua/batch.h"
#include "lua/claim.h"
#include "lua/clock.h"
#include "lua/command.h"
#include "lua/console.h"
#include "lua/file.h"
#include "lua/fixture.h"
#include "lua/guest.h"
#include "lua/lab.h"
#include "lua/lab_snapshot.h"
#include "lua/legacy.h"
#include "lua/principal.h"
#include "lua/process.h"
#include "lua/snapshot.h"
#include "lua/sys.h"
#include "lua/syscall.h"
#include "lua/tail.h"
#include "lua/tree.h"
#include "lua/vm.h"
#include "lua/worker.h"

/* What a VM and a worker do alike, with those of lua/guest.h. */
static const luaL_Reg shared[] = {
    {"run",	    pv_lua_command_run      },
    {"run_async",	  pv_lua_process_run_async},
    {"push_file",	  pv_lua_tree_push_file   },
    {"push_dir",	 pv_lua_tree_push_dir    },
    {"pull_file",	  pv_lua_tree_pull_file   },
    {"pull_dir",	 pv_lua_tree_pull_dir    },
    {"open_file",	  pv_lua_file_open_file   },
    {"tail_file",	  pv_lua_tail_file	  },
    {"fd_stream",	  pv_lua_tail_fd_stream   },
    {"syscall",	pv_lua_syscall_now	  },
    {"syscall_async", pv_lua_syscall_async	  },
    {"ioctl",	      pv_lua_ioctl		  },
    {"read_mem",	 pv_lua_memory_read	   },
    {"write_mem",	  pv_lua_memory_write     },
    {"batch",	      pv_lua_batch		  },
    {NULL,	    NULL		    },
};

/* What a VM alone does, in its guest and besides. */
static const luaL_Reg vm_in_guest[] = {
    {"spawn_worker", pv_lua_worker_spawn},
    {NULL,	   NULL	       },
};

static const luaL_Reg vm_views[] = {
    {"console", pv_lua_console_of_vm},
    {"clock",   pv_lua_clock_of_vm	},
    {NULL,	   NULL		},
};

static const luaL_Reg file[] = {
    {"tail_stream", pv_lua_tail_of_file},
    {NULL,	   NULL	       },
};

static void push_shared(lua_State *L, const struct pv_lua_principal_kind *kind)
{
	lua_newtable(L);
	pv_lua_principal_setfuncs(L, pv_lua_guest_methods, kind);
	pv_lua_principal_setfuncs(L, shared, kind);
}

static void open_vm(lua_State *L)
{
	push_shared(L, &pv_lua_vm_principal);
	pv_lua_principal_setfuncs(L, vm_in_guest, &pv_lua_vm_principal);
	luaL_setfuncs(L, vm_views, 0);
	luaL_setfuncs(L, pv_lua_snapshot_methods, 0);
	pv_lua_legacy_add(L, "vm");
	pv_lua_vm_open(L);
}

static void open_worker(lua_State *L)
{
	push_shared(L, &pv_lua_worker_principal);
	pv_lua_legacy_add(L, "worker");
	pv_lua_worker_open(L);
}

static void open_lab(lua_State *L)
{
	lua_newtable(L);
	luaL_setfuncs(L, pv_lua_lab_member_methods, 0);
	luaL_setfuncs(L, pv_lua_lab_batch_methods, 0);
	luaL_setfuncs(L, pv_lua_claim_methods, 0);
	luaL_setfuncs(L, pv_lua_fixture_methods, 0);
	luaL_setfuncs(L, pv_lua_lab_snapshot_methods, 0);
	pv_lua_legacy_add(L, "lab");
	pv_lua_sys_push(L);
	lua_setfield(L, -2, "sys");
	pv_lua_lab_open(L);
}

void pv_lua_methods_open(lua_State *L)
{
	open_lab(L);
	open_vm(L);
	open_worker(L);
	luaL_newlib(L, file);
	pv_lua_file_open(L);
}
