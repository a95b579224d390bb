-- Files in the guest (spec 7.5, this slice).
local vm = provium:vm("v", "linux", {memory = "384M"}):boot()

test("binary content survives a round trip", function(t)
	local all = {}
	for i = 0, 255 do all[#all + 1] = string.char(i) end
	local data = table.concat(all):rep(300)
	vm:write_file("/tmp/all", data)
	t:assert_eq(vm:read_file("/tmp/all"), data)
	vm:write_file("/tmp/all", "shorter")
	t:assert_eq(vm:read_file("/tmp/all"), "shorter")
	vm:write_file("/tmp/all", "")
	t:assert_eq(vm:read_file("/tmp/all"), "")
end)

test("files of 48 MiB, in both directions", function(t)
	local data = ("provium "):rep(6 << 20)
	vm:write_file("/tmp/big", data)
	t:assert_eq(vm:stat("/tmp/big").size, #data)
	t:assert(vm:read_file("/tmp/big") == data, "the content differs")
	vm:run("rm /tmp/big"):assert_ok()
end)

test("files of /proc and /sys, whose size is 0", function(t)
	t:assert_contains(vm:read_file("/proc/version"), "Linux version")
	t:assert_contains(vm:read_file("/proc/cmdline"), "rdinit=/sbin/provium-agent")
	t:assert_eq(vm:read_file("/sys/devices/system/cpu/online"), "0\n")
end)

test("stat tells type, size, permissions and time", function(t)
	vm:run("cd /tmp; echo 12345 > f; chmod 640 f; mkdir d; ln -s f l; mkfifo p; touch -d @1000000000 f"):assert_ok()
	local st = vm:stat("/tmp/f")
	t:assert_eq(st.size, 6)
	t:assert_eq(st.perm, tonumber("640", 8))
	t:assert_eq(st.entry_type, "file")
	t:assert_eq(st.mtime_ns, 1000000000 * 1000000000)
	t:assert_eq(st.mtime, 1e9)
	for path, kind in pairs({["/tmp/d"] = "directory", ["/tmp/p"] = "fifo", ["/tmp/l"] = "file", ["/dev/null"] = "char_device"}) do
		t:assert_eq(vm:stat(path).entry_type, kind, path)
	end
end)

test("push_file copies a host file", function(t)
	local name = os.tmpname()
	local f = assert(io.open(name, "wb"))
	f:write("\0from the host\n")
	f:close()
	vm:push_file(name, "/tmp/pushed")
	os.remove(name)
	t:assert_eq(vm:read_file("/tmp/pushed"), "\0from the host\n")
	vm:push_file("files.test.lua", "/tmp/self")
	t:assert_contains(vm:read_file("/tmp/self"), "push_file copies a host file")
	t:assert_contains(tostring(t:assert_raises(function() vm:push_file("no-such-file", "/tmp/x") end)), "read `")
end)

test("directories are made, listed and removed", function(t)
	vm:mkdir("/tmp/a/b", {parents = true, perm = tonumber("750", 8)})
	t:assert_eq(vm:stat("/tmp/a/b").perm, tonumber("750", 8))
	vm:run("cd /tmp/a; echo 1 > f; ln -s f l; mkfifo p"):assert_ok()
	local types = {}
	for _, entry in ipairs(vm:listdir("/tmp/a")) do types[entry.name] = entry.entry_type end
	t:assert_eq(json.encode(types.b), '"directory"')
	t:assert_eq(types.f, "file")
	t:assert_eq(types.l, "symlink")
	t:assert_eq(types.p, "fifo")
	vm:rename("/tmp/a/f", "/tmp/a/b/g")
	t:assert_eq(vm:read_file("/tmp/a/b/g"), "1\n")
	t:assert_contains(tostring(t:assert_raises(function() vm:unlink("/tmp/a/b") end)), "Directory not empty")
	vm:unlink("/tmp/a/b/g")
	vm:unlink("/tmp/a/b")
	t:assert_eq(#vm:listdir("/tmp/a"), 2)
	t:assert_contains(tostring(t:assert_raises(function() vm:mkdir("/proc/x") end)), "vm `v`: mkdir `/proc/x`: ")
end)

test("a directory of 100,000 entries is listed in constant memory of the agent", function(t)
	local function agent_memory() return tonumber(vm:read_file("/proc/1/status"):match("VmRSS:%s*(%d+)")) end
	vm:run("mkdir /tmp/many; mount -t tmpfs -o nr_inodes=0 none /tmp/many; cd /tmp/many; seq -w 1 100000 | xargs touch"):assert_ok()
	local before = agent_memory()
	t:assert_eq(#vm:listdir("/tmp/many"), 100000)
	t:assert(agent_memory() < before + 8192, "the agent grew by " .. agent_memory() - before .. " KiB")
	vm:run("umount /tmp/many"):assert_ok()
end)

test("errors name the operation, the path and the errno", function(t)
	for call, path in pairs({read_file = "/none", stat = "/none"}) do
		local err = tostring(t:assert_raises(function() vm[call](vm, path) end))
		t:assert_contains(err, path)
		t:assert_contains(err, "No such file or directory")
		t:assert_contains(err, "files.test.lua:")
	end
end)

test("the permission bits of injected and written files", function(t)
	t:assert_eq(vm:stat("/sbin/provium-agent").perm, tonumber("755", 8))
	vm:write_file("/tmp/new", "x")
	t:assert_eq(vm:stat("/tmp/new").perm, tonumber("644", 8))
end)
