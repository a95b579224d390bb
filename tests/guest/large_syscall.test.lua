-- System calls have no small limits: one buffer, as large as the guest and this machine have room for, goes into the guest and comes back.
-- PROVIUM_TEST_BUFFER_MIB: another size; 1024, the most, where there is hardware.
local MIB = tonumber(os.getenv("PROVIUM_TEST_BUFFER_MIB") or 96)
provium.timeout = "10m"
local sys = provium.sys
local vm = provium:vm("v", "linux", {memory = (MIB + 320) .. "M"}):boot()

test("one buffer of " .. MIB .. " MiB", function(t)
	local block = {}
	for i = 1, 1 << 16 do block[i] = ("%015d\n"):format(i) end
	block = table.concat(block)
	local data = block:rep(MIB)
	block = nil
	local r = vm:syscall("getpid", {bufs = {data}})
	t:assert(r.ret > 0)
	t:assert(r.out_bufs[1] == data, "what came back is not what went in")
	r = nil
	collectgarbage()
	-- The kernel takes all of it in one call, and has read its last byte.
	local null = vm:syscall("openat", {args = {-100, 0, sys.O_WRONLY}, bufs = {"/dev/null\0"}, ptrs = {1}}).ret
	local wrote = vm:syscall("write", {args = {null, 0, #data}, bufs = {data}, ptrs = {1}})
	t:assert_eq(wrote.ret, #data)
	wrote = nil
	collectgarbage()
	-- The agent keeps none of it.
	local anonymous = tonumber(vm:read_file("/proc/1/status"):match("RssAnon:%s+(%d+) kB"))
	t:assert(anonymous < 4096, "the agent keeps " .. anonymous .. " KiB")
end)

test("more than a gibibyte is refused, with the limit", function(t)
	local mib = ("x"):rep(1 << 20)
	local many = {}
	for i = 1, 1025 do many[i] = mib end
	local err = tostring(t:assert_raises(function() vm:syscall("getpid", {bufs = many}) end))
	t:assert_contains(err, "vm:syscall: bufs are longer than 1073741824 bytes together")
end)
